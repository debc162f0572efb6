"""Measures how fast a run is, how long it will take, and whether it waits for data: `throughput.csv`.

A rank waits while its loader has no batch ready. Ranks run in step, so the slowest loader sets the pace of
all. Only logged steps read the clock, because they wait for the device anyway, to read the loss.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.lightning_internals import datamodule_of, is_logged
from maedfer.processes.cores import usable_cores, workers_for
from maedfer.training.run.records import StepTable
from maedfer.training.run.screen import print_rank_zero
from maedfer.training.steps.scheduled_module import ScheduledModule

WINDOW_S = 30
"""Seconds of training that a speed is measured over."""

ROW_EVERY_S = 10
"""Seconds between the rows of the table."""

LONG_WAIT = 0.2
"""Share of waiting above which a run names remedies."""


@dataclass(frozen=True)
class Speed:
    """A row of `throughput.csv`.

    Attributes:
        step: Optimizer steps done.
        clips_per_s: Clips that all ranks trained on in a second, evaluations left out.
        waiting: Share of the time that the slowest rank waited for its next batch.
        seconds_left: Until the last step, at the mean pace of this process, evaluations included.
    """

    step: int
    clips_per_s: float
    waiting: float
    seconds_left: float

    @property
    def shown(self) -> str:
        """Speed and share of waiting, as text."""
        rate = f"{self.clips_per_s:,.0f}" if self.clips_per_s >= 10 else f"{self.clips_per_s:.1f}"
        return f"{rate} clips/s, {self.waiting:.0%} waiting for data"


@dataclass(frozen=True)
class _Mark:
    """Counters at a moment: seconds of training, clips of all ranks, and seconds waited."""

    trained_s: float
    clips: int
    waited_s: float


class Throughput(Callback):
    """Measures a run, writes `throughput.csv`, and warns once when loading limits the speed.

    Args:
        folder: the run folder.
    """

    COLUMNS = ("step", "clips_per_s", "waiting", "seconds_left")

    def __init__(self, folder: Path) -> None:
        self._path = folder / "throughput.csv"
        self._table: StepTable | None = None
        self._marks: deque[_Mark] = deque()
        self._step, self._clips, self._paused_s = 0, 0, 0.0
        self._started: tuple[int, float] | None = None
        self._row_at, self._row_step = 0.0, 0
        self._long_waits, self._warned = 0, False
        self.latest: Speed | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the table at the step of the checkpoint."""
        self._step = trainer.global_step
        if trainer.is_global_zero:
            self._table = StepTable(self._path, self.COLUMNS, self._step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock for an evaluation."""
        self._paused_s -= time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restarts the clock."""
        self._paused_s += time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts clips; starts the clock after the first step and reads it after logged ones."""
        self._clips += len(batch.keys) * trainer.world_size
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self._started is None:  # workers have started, and whatever compiles has compiled
            self._started = self._step, time.perf_counter()
            self._row_at = time.perf_counter()
            self._marks.append(self._mark(trainer))
        elif is_logged(trainer):
            self._measure(trainer, pl_module)
            if time.perf_counter() - self._row_at >= ROW_EVERY_S:
                self._write(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the last row."""
        if self._started is None or self._started[0] == self._step:
            return
        if self.latest is None or self.latest.step < self._step:
            self._measure(trainer, pl_module)
        if self._row_step < self._step:
            self._write(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the table."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def _mark(self, trainer: Trainer) -> _Mark:
        trained_s = time.perf_counter() - self._paused_s
        assert trainer.train_dataloader is not None
        return _Mark(trained_s, self._clips, trainer.train_dataloader.waited_s)

    def _measure(self, trainer: Trainer, module: LightningModule) -> None:
        """Reads the clock; all ranks take part, to find the one that waits longest."""
        now, marks = self._mark(trainer), self._marks
        while len(marks) > 1 and now.trained_s - marks[1].trained_s >= WINDOW_S:
            marks.popleft()
        seconds = now.trained_s - marks[0].trained_s
        waiting = torch.tensor((now.waited_s - marks[0].waited_s) / seconds, device=module.device)
        if trainer.world_size > 1:
            torch.distributed.all_reduce(waiting, op=torch.distributed.ReduceOp.MAX)
        rate = (now.clips - marks[0].clips) / seconds
        marks.append(now)
        first_step, began = self._started or (0, 0.0)
        pace = (time.perf_counter() - began) / (self._step - first_step)
        left = max(cast(ScheduledModule, module).total_steps - self._step, 0) * pace
        self.latest = Speed(self._step, rate, float(waiting), left)

    def _write(self, trainer: Trainer) -> None:
        """Writes the row, for the loggers too, and warns at the second long wait in a row."""
        self._row_at, self._row_step = time.perf_counter(), self._step
        speed = self.latest
        if self._table is None or speed is None:
            return
        values = {"clips_per_s": speed.clips_per_s, "waiting": speed.waiting}
        for logger in trainer.loggers:
            logger.log_metrics({f"throughput/{name}": value for name, value in values.items()}, speed.step)
        rounded = {"clips_per_s": f"{speed.clips_per_s:.2f}", "waiting": f"{speed.waiting:.4f}"}
        left = {"seconds_left": round(speed.seconds_left)}
        self._table.append({"step": speed.step, **rounded, **left})
        self._long_waits = self._long_waits + 1 if speed.waiting > LONG_WAIT else 0
        if self._long_waits == 2 and not self._warned:
            self._warned = True
            remedies = "; ".join(faster_data(datamodule_of(trainer), trainer.num_devices))
            waiting = f"{speed.waiting:.0%} of the time goes into waiting for data"
            print_rank_zero(f"warning: {waiting}: {remedies}")


def faster_data(data: ClipDataModule, devices: int) -> list[str]:
    """Returns remedies for a run that waits for data, the cheapest first.

    Args:
        data: of the run, its workers settled.
        devices: devices of this machine that train.
    """
    cores, remedies = workers_for(devices), []
    if (data.workers or 0) < cores:
        remedies.append(f"--data.workers {cores} ({usable_cores()} cores, {data.workers} workers a device)")
    remote = "://" in data.shards or data.shards.startswith("pipe:")
    if remote:
        remedies.append("copy the shards to a disk of this machine, they are remote")
    h264 = data.index.encoding.get("name") == "h264"
    if h264:
        remedies.append("pack with --encoding jpeg, which takes a third of the decoding work of h264")
    if data.clips_per_sample == 1 and (remote or h264):  # the frames of JPEG tracks are decoded one by one
        remedies.append("--data.clips_per_sample 2 draws two clips of each track that is fetched and decoded")
    return remedies or ["give the run more cores, or pack smaller frames (--size)"]
