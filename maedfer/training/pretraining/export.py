"""Writes `encoder/` of a pre-training run: its configuration at the start, the weights at the end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.models.config import ModelConfig
from maedfer.models.weights import save_encoder, write_unfinished
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.run.export import input_of, provenance_of


def announce_encoder(module: MaskedPretraining, data: ClipDataModule, folder: Path) -> None:
    """Writes the configuration and the card of an encoder that is about to be trained."""
    write_unfinished(module.mae.encoder, folder, _config(module, data, steps=0, clips=0))


def export_encoder(
    module: MaskedPretraining, data: ClipDataModule, folder: Path, steps: int, clips: int
) -> None:
    """Writes `encoder/` from a pre-training module.

    Args:
        module: the trained module.
        data: its data module.
        folder: the folder to write.
        steps: optimizer steps done.
        clips: clips trained on.
    """
    save_encoder(module.mae.encoder, folder, _config(module, data, steps, clips))


def _config(module: MaskedPretraining, data: ClipDataModule, steps: int, clips: int) -> ModelConfig:
    provenance = {
        "method": "masked pre-training of appearance and motion (MAE-DFER)",
        **{f"mask_{name}": value for name, value in asdict(module.masks).items()},
        "motion_group": module.mae.motion_group,
        **provenance_of(data, steps, clips),
    }
    return ModelConfig(module.architecture, module.model_args, input_of(data), provenance=provenance)
