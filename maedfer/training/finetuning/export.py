"""Writes `classifier/` of a fine-tuning run: its configuration at the start, the weights at the end."""

from __future__ import annotations

from pathlib import Path

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.models.config import ModelConfig, OutputSpec
from maedfer.models.weights import save_encoder, write_unfinished
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.finetuning.trained_on import trained_on
from maedfer.training.run.export import input_of, provenance_of


def announce_classifier(module: FineTuning, data: LabelledDataModule, folder: Path) -> None:
    """Writes the configuration and the card of a classifier that is about to be trained."""
    write_unfinished(module.exported(), folder, _config(module, data, steps=0, clips=0))


def export_classifier(
    module: FineTuning, data: LabelledDataModule, folder: Path, steps: int, clips: int
) -> None:
    """Writes `classifier/` from a fine-tuning module.

    Args:
        module: the trained module.
        data: its data module; how labels were read goes into the configuration, so that an evaluation reads
            them in the same way.
        folder: the folder to write.
        steps: optimizer steps done.
        clips: clips trained on.
    """
    save_encoder(module.exported(), folder, _config(module, data, steps, clips))


def _config(module: FineTuning, data: LabelledDataModule, steps: int, clips: int) -> ModelConfig:
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
