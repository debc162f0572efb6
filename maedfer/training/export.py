"""The encoder of a run, exported for `maedfer.load_encoder`: weights, configuration and a card that says its
limits.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from maedfer.constants import FRAME_INTERVAL_S, IMAGENET_MEAN, IMAGENET_STD
from maedfer.data.records import is_synthetic
from maedfer.models.weights import save_encoder
from maedfer.training.masked_pretraining import MaskedPretraining


def export_encoder(module: MaskedPretraining, data: Any, folder: Path, steps: int) -> None:
    """Write `encoder/` from a pre-training module, on the first rank only.

    Args:
        module: the trained module.
        data: its data module; the crop geometry and the origin of its shards go into the card.
        folder: the folder to write.
        steps: optimizer steps done.
    """
    if not module.trainer.is_global_zero:
        return
    index = data.index
    save_encoder(
        module.mae.encoder,
        folder,
        architecture=module.architecture,
        model_args=module.model_args,
        geometry=dict(index.geometry),
        provenance={
            "method": "masked pre-training of appearance and motion (MAE-DFER)",
            "steps": steps,
            "clips_seen": steps * module.global_batch,
            "shards": Path(data.shards).name,
            "shards_made_by": dict(index.made_by),
            "synthetic": is_synthetic(index.made_by),
            "mask_ratio": module.mask_ratio,
            "maedfer": version("maedfer"),
            "torch": version("torch"),
        },
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        frame_interval_s=FRAME_INTERVAL_S,
    )
