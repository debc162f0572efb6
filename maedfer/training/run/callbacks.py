"""Builds the callbacks of a run, in the order that they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pytorch_lightning import Callback

from maedfer.runs.folder import RunFolder
from maedfer.training.run.checkpoints import BestCheckpoint, LastCheckpoint, PositionInCheckpoint
from maedfer.training.run.interruption import CheckpointOnSignal
from maedfer.training.run.non_finite import NonFiniteLoss
from maedfer.training.run.progress import ProgressLines, RunProgress
from maedfer.training.run.records import KeyRecorder, MetricsFile
from maedfer.training.run.throughput import Throughput


def run_callbacks(
    folder: RunFolder,
    config: Any,
    columns: Sequence[str],
    evaluation: Sequence[Callback],
    monitor: str,
    mode: Literal["min", "max"],
) -> list[Callback]:
    """Returns the callbacks of a run; Lightning moves those that write checkpoints behind the others.

    Args:
        folder: the run folder.
        config: the parsed configuration; `checkpoint_every`, `stop_after_skipped`, `data.record_keys` and
            `trainer.enable_progress_bar` are read.
        columns: columns of `metrics.csv`: `step`, the losses and `lr`.
        evaluation: callbacks that evaluate held-out clips and log `monitor`.
        monitor: logged value that `best.ckpt` is chosen by.
        mode: whether the lowest or the highest is best.
    """
    throughput = Throughput(folder.path)
    return [
        # A step is on record before a checkpoint says that it is done.
        MetricsFile(folder.path, columns),
        *([KeyRecorder(folder.path)] if config.data.record_keys else []),
        NonFiniteLoss(folder.path, config.stop_after_skipped),
        PositionInCheckpoint(),
        *evaluation,
        throughput,  # measures the speed before it is shown
        *([] if config.trainer.enable_progress_bar is False else [RunProgress(throughput)]),
        ProgressLines(throughput),
        BestCheckpoint(folder, monitor, mode),  # a validation changes its state, which the next two write
        CheckpointOnSignal(folder.last),
        LastCheckpoint(folder, config.checkpoint_every),
    ]
