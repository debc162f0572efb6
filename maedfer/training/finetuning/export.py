"""Describes the classifier of a fine-tuning run in its `config.json`."""

from __future__ import annotations

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.models.config import ModelConfig, OutputSpec
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.finetuning.trained_on import trained_on
from maedfer.training.run.export import input_of, provenance_of


def classifier_config(module: FineTuning, data: LabelledDataModule, steps: int, clips: int) -> ModelConfig:
    """Returns the configuration of the classifier after so many optimizer steps and training clips."""
    assert module.architecture is not None  # as the module has been built
    columns = None if data.columns is None else tuple(data.columns)
    provenance = {
        "method": "linear probe" if module.freeze_encoder else "fine-tuning",
        "training_samples": len(data.subsets.train),
        "trained_on": trained_on(data),
        **provenance_of(data, steps, clips),
    }
    return ModelConfig(
        module.architecture,
        module.model_args,
        input_of(data),
        OutputSpec(module.task.name, module.outputs, columns),
        provenance,
    )
