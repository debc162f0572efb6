"""Writes `classifier/` of a fine-tuning run."""

from __future__ import annotations

from pathlib import Path

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.models.weights import save_encoder
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.finetuning.trained_on import trained_on
from maedfer.training.run.export import conventions, origin


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
        "task": module.task.name,
        "columns": data.columns,
        "sampling": data.sampling,
        "training_samples": len(data.parts.train),
        "trained_on": trained_on(data),
        **origin(data, steps, clips),
    }
    shape = {"architecture": module.architecture, "model_args": module.model_args, "provenance": provenance}
    save_encoder(module.exported(), folder, labels=module.outputs, **shape, **conventions(data))
