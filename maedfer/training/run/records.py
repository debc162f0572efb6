"""Writes `metrics.csv` and `keys/rank<r>.txt`, flushed every step, and exact after a resume.

Lightning's CSV logger flushes every hundred steps and deletes the file when a run is resumed; here a resumed
run keeps the rows up to its checkpoint and drops later ones.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.files import write_atomically
from maedfer.lightning_internals import is_logged
from maedfer.training.steps.scheduled_module import ScheduledModule


def keep_rows_until(path: Path, step: int, header: str | None, separator: str) -> None:
    """Drops the rows of a text table whose first field exceeds `step`, and a last line cut by a kill."""
    if not path.is_file():
        return
    kept = [] if header is None else [header]
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        first = line.split(separator, 1)[0]
        if line.endswith("\n") and first.isdigit() and int(first) <= step:
            kept.append(line)
    write_atomically(path, "".join(kept).encode())


class EventsLogger(TensorBoardLogger):
    """Writes TensorBoard events into the run folder, without a second file of settings."""

    @rank_zero_only
    def save(self) -> None:
        """Flushes the events."""
        self.experiment.flush()


class StepTable:
    """A CSV file with rows of steps, appended and flushed; `columns[0]` is the step."""

    def __init__(self, path: Path, columns: Sequence[str], resume_step: int) -> None:
        """Opens the file for appending, after dropping rows of steps that a resumed run repeats."""
        header = ",".join(columns) + "\n"
        keep_rows_until(path, resume_step, header, ",")
        is_new = not path.exists()
        self._stream: TextIO = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, columns, lineterminator="\n")
        if is_new:
            self._writer.writeheader()

    def append(self, row: dict[str, Any]) -> None:
        """Writes a row and flushes it."""
        self._writer.writerow(row)
        self._stream.flush()

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()


class MetricsFile(Callback):
    """Writes `metrics.csv`: losses of every logged step (mean over ranks and micro-batches) and learning
    rate. Losses that are NaN or infinite are written as `nan`.

    Args:
        folder: the run folder.
        columns: `step`, the losses (the first is the total) and `lr`.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder, self._columns = folder, tuple(columns)
        self._table: StepTable | None = None
        self._step = 0
        self._losses: list[torch.Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the table at the step of the checkpoint."""
        self._step = trainer.global_step
        if trainer.is_global_zero:
            self._table = StepTable(self._folder / "metrics.csv", self._columns, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Appends the row of a step once its last micro-batch is done; all ranks take part in the mean."""
        names = ("unscaled", *self._columns[2:-1])
        self._losses.append(torch.stack([outputs[name].detach() for name in names]))
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        losses, self._losses = torch.stack(self._losses).mean(0), []
        if not is_logged(trainer):
            return
        losses = trainer.strategy.reduce(losses)
        if self._table is not None:
            module = cast(ScheduledModule, pl_module)
            losses = losses.where(losses.isfinite(), torch.nan)
            values = dict(zip(self._columns[1:-1], losses.tolist(), strict=True))
            self._table.append({"step": self._step, **values, "lr": module.learning_rate(self._step - 1)})

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the file."""
        if self._table is not None:
            self._table.close()
            self._table = None


class KeyRecorder(Callback):
    """Writes `keys/rank<r>.txt`: `step key clip_start`, a line for each clip that this rank trained on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: TextIO | None = None
        self._step = 0
        self._clips: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens this rank's list at the step of the checkpoint; the first rank cuts those of absent ranks."""
        self._step, folder = trainer.global_step, self._folder / "keys"
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / f"rank{trainer.global_rank}.txt"
        others = folder.glob("rank*.txt") if trainer.is_global_zero else ()
        absent = [path for path in others if int(path.stem.removeprefix("rank")) >= trainer.world_size]
        for path in (own, *absent):
            keep_rows_until(path, self._step, None, " ")
        self._stream = own.open("a", encoding="utf-8")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects the clips of a batch, and writes those of a step once it is done."""
        self._clips += [f"{key} {start:.3f}" for key, start in zip(batch.keys, batch.starts, strict=True)]
        if trainer.global_step == self._step or self._stream is None:
            return
        self._step = trainer.global_step
        self._stream.writelines(f"{self._step} {clip}\n" for clip in self._clips)
        self._stream.flush()
        self._clips = []

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
