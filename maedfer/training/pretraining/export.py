"""Describes the encoder of a pre-training run in its `config.json`."""

from __future__ import annotations

from dataclasses import asdict

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.models.config import ModelConfig
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.run.export import input_of, provenance_of


def encoder_config(module: MaskedPretraining, data: ClipDataModule, steps: int, clips: int) -> ModelConfig:
    """Returns the configuration of the encoder after so many optimizer steps and training clips."""
    provenance = {
        "method": "masked pre-training of appearance and motion (MAE-DFER)",
        **{f"mask_{name}": value for name, value in asdict(module.masks).items()},
        "motion_group": module.mae.motion_group,
        **provenance_of(data, steps, clips),
    }
    return ModelConfig(module.architecture, module.model_args, input_of(data), provenance=provenance)
