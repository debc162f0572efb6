"""What a run leaves for others: `encoder/` for `maedfer.load_encoder`, `classifier/` for `load_classifier`.

Both hold weights, a configuration, and a card that says their limits.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from maedfer.constants import FRAME_INTERVAL_S, IMAGENET_MEAN, IMAGENET_STD
from maedfer.data.datamodule import ClipDataModule
from maedfer.data.labelled import LabelledDataModule
from maedfer.models.weights import save_encoder
from maedfer.training.fine_tuning import FineTuning
from maedfer.training.masked_pretraining import MaskedPretraining
from maedfer.training.trained_on import trained_on


def export_encoder(
    module: MaskedPretraining, data: ClipDataModule, folder: Path, steps: int, clips: int
) -> None:
    """Write `encoder/` from a pre-training module.

    Args:
        module: the trained module.
        data: its data module; the crop geometry and the origin of its shards go into the card.
        folder: the folder to write.
        steps: optimizer steps done.
        clips: clips trained on.
    """
    provenance = {
        "method": "masked pre-training of appearance and motion (MAE-DFER)",
        "mask_ratio": module.masks.ratio,
        "mask_mode": module.masks.mode,
        "mask_symmetry": module.masks.symmetry,
        "motion_group": module.mae.motion_group,
        **origin(data, steps, clips),
    }
    shape = {"architecture": module.architecture, "model_args": module.model_args, "provenance": provenance}
    save_encoder(module.mae.encoder, folder, **shape, **conventions(data))


def export_classifier(
    module: FineTuning, data: LabelledDataModule, folder: Path, steps: int, clips: int
) -> None:
    """Write `classifier/` from a fine-tuning module.

    Args:
        module: the trained module.
        data: its data module; how labels were read goes into the card, for an evaluation to do the same.
        folder: the folder to write.
        steps: optimizer steps done.
        clips: clips trained on.
    """
    provenance = {
        "method": "linear probe" if module.freeze_encoder else "fine-tuning",
        "task": module.task,
        "columns": data.columns,
        "sampling": data.sampling,
        "training_samples": len(data.parts.train),
        "trained_on": trained_on(data),
        **origin(data, steps, clips),
    }
    shape = {"architecture": module.architecture, "model_args": module.model_args, "provenance": provenance}
    save_encoder(module.exported(), folder, labels=module.outputs, **shape, **conventions(data))


def origin(data: ClipDataModule, steps: int, clips: int) -> dict[str, Any]:
    """What every model says of its training."""
    return {
        "steps": steps,
        "clips_seen": clips,
        "shards": Path(data.shards).name,
        "shards_made_by": dict(data.index.made_by),
        "synthetic": data.is_synthetic,
        "frame_crop": data.frame_crop,
        "maedfer": version("maedfer"),
        "torch": version("torch"),
    }


def conventions(data: ClipDataModule) -> dict[str, Any]:
    """How clips have to be made for a model."""
    return {
        "geometry": dict(data.index.geometry),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "frame_interval_s": data.frame_interval_s or FRAME_INTERVAL_S,
    }
