"""The callbacks of a pre-training run, in the order in which a step needs them."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback

from maedfer.runs.folder import RunFolder
from maedfer.training.pretraining.held_out import HeldOutEvaluation
from maedfer.training.pretraining.pictures import ReconstructionPictures
from maedfer.training.run.callbacks import (
    best_checkpoint,
    last_checkpoint,
    progress,
    records,
)
from maedfer.training.run.interruption import CheckpointOnSignal
from maedfer.training.run.records import PRETRAINING_COLUMNS


def pretraining_callbacks(folder: RunFolder, config: Any) -> list[Callback]:
    """The callbacks of `maedfer pretrain`.

    Args:
        folder: the run folder.
        config: the parsed configuration; `checkpoint_every`, `picture_every`, `stop_after_skipped` and
            `data.record_keys` are read.
    """
    return [
        *records(folder, config, PRETRAINING_COLUMNS),
        HeldOutEvaluation(folder.path / "held_out.csv"),
        ReconstructionPictures(folder.figures, folder.path, config.picture_every),
        *progress(folder, config),
        best_checkpoint(folder, "held_out/total_model", "min"),
        CheckpointOnSignal(folder.last),
        last_checkpoint(folder, config.checkpoint_every),
    ]
