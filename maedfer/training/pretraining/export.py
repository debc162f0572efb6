"""Writes `encoder/` of a pre-training run."""

from __future__ import annotations

from pathlib import Path

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.models.weights import save_encoder
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.run.export import conventions, origin


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
