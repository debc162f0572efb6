"""The callbacks of a fine-tuning run, in the order in which a step needs them."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback

from maedfer.runs.folder import RunFolder
from maedfer.tasks import task_of
from maedfer.training.finetuning.scoring import Scoring
from maedfer.training.run.callbacks import (
    best_checkpoint,
    last_checkpoint,
    progress,
    records,
)
from maedfer.training.run.interruption import CheckpointOnSignal
from maedfer.training.run.records import FINE_TUNING_COLUMNS


def fine_tuning_callbacks(folder: RunFolder, config: Any) -> list[Callback]:
    """The callbacks of `maedfer finetune`.

    Args:
        folder: the run folder.
        config: the parsed configuration; `checkpoint_every`, `stop_after_skipped`, `task` and
            `data.record_keys` are read.
    """
    return [
        *records(folder, config, FINE_TUNING_COLUMNS),
        Scoring(folder.path / "validation.csv"),
        *progress(folder, config),
        best_checkpoint(folder, f"val/{task_of(config.task).main_score}", "max"),
        CheckpointOnSignal(folder.last),
        last_checkpoint(folder, config.checkpoint_every),
    ]
