"""Builds the callbacks of a run in the order that they need, and checks that Lightning keeps that order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pytorch_lightning import Callback

from maedfer.runs.folder import RunFolder
from maedfer.training.run.checkpoints import (
    BestCheckpoint,
    LastCheckpoint,
    PositionInCheckpoint,
)
from maedfer.training.run.interruption import CheckpointOnSignal
from maedfer.training.run.non_finite import NonFiniteLoss
from maedfer.training.run.progress import ProgressLines, RunProgress
from maedfer.training.run.records import KeyRecorder, MetricsFile
from maedfer.training.run.throughput import Throughput

ORDER = (
    *(
        MetricsFile,
        KeyRecorder,
        NonFiniteLoss,
    ),  # a step is on record before a checkpoint says that it is done
    *(Throughput, RunProgress, ProgressLines),  # the speed is measured before it is shown
    BestCheckpoint,  # its state, which a validation changes, is part of the checkpoints below
    CheckpointOnSignal,  # a run that leaves here has written `last.ckpt` itself
    LastCheckpoint,
)
"""Callbacks whose hooks depend on those of the ones before them."""


def run_callbacks(
    folder: RunFolder,
    config: Any,
    columns: Sequence[str],
    evaluation: Sequence[Callback],
    monitor: str,
    mode: Literal["min", "max"],
) -> list[Callback]:
    """Returns the callbacks of a run.

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
        MetricsFile(folder.path, columns),
        *([KeyRecorder(folder.path)] if config.data.record_keys else []),
        NonFiniteLoss(folder.path, config.stop_after_skipped),
        PositionInCheckpoint(),
        *evaluation,
        throughput,
        *([] if config.trainer.enable_progress_bar is False else [RunProgress(throughput)]),
        ProgressLines(throughput),
        BestCheckpoint(folder, monitor, mode),
        CheckpointOnSignal(folder.last),
        LastCheckpoint(folder, config.checkpoint_every),
    ]


def check_order(callbacks: Sequence[Callback]) -> None:
    """Checks the callbacks of a trainer against `ORDER`; Lightning moves those that write checkpoints.

    Raises:
        RuntimeError: a callback comes before one that it needs.
    """
    found = [kind for callback in callbacks for kind in ORDER if isinstance(callback, kind)]
    if found != sorted(found, key=ORDER.index):
        names = ", ".join(kind.__name__ for kind in found)
        raise RuntimeError(f"callbacks are not in the order of `callbacks.ORDER`: {names}")
