"""How far a run is, for whoever looks: a bar on a terminal, a plain line every minute in a log.

One bar for the whole run, with steps done, time left, the loss and the speed; Lightning's own bars start anew
every epoch.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from maedfer.text import duration
from maedfer.training.run.screen import log_above_bar
from maedfer.training.run.throughput import Throughput

LINE_EVERY_S = 60
"""Seconds between the plain lines of a run without a bar."""


class RunProgress(ProgressBar):
    """A tqdm bar over the optimizer steps of a run, and a passing one over held-out clips.

    Both only on a terminal: in a log, a bar would be one long line.

    Args:
        throughput: knows the speed of a training; it has to stand before this callback.
    """

    def __init__(self, throughput: Throughput | None = None) -> None:
        super().__init__()
        self._throughput = throughput
        self._bar: tqdm | None = None
        self._held_out: tqdm | None = None
        self._enabled = sys.stderr.isatty()

    def disable(self) -> None:
        """Show nothing; Lightning calls this on every rank but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = sys.stderr.isatty()

    @property
    def is_shown(self) -> bool:
        """Whether there is a bar on the screen."""
        return self._bar is not None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar at the step that the run continues from."""
        super().on_train_start(trainer, pl_module)
        if self._enabled:
            done = trainer.global_step
            options = {"unit": "step", "dynamic_ncols": True, "mininterval": 0.5, "file": sys.stderr}
            self._bar = tqdm(total=pl_module.total_steps, initial=done, **options)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move to the current step; reading the loss waits for the device, so it is read now and then."""
        if self._bar is None:
            return
        self._bar.update(trainer.global_step - self._bar.n)
        if trainer.global_step % max(trainer.log_every_n_steps, 10) == 0:
            speed = self._throughput and self._throughput.latest
            said = f"loss {float(outputs['unscaled']):.4f}" + (f", {speed.shown}" if speed else "")
            self._bar.set_postfix_str(said, refresh=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A bar for the held-out clips, gone when they are done."""
        if self._enabled and trainer.is_global_zero:
            total = sum(trainer.num_val_batches)
            self._held_out = tqdm(total=total, desc="held out", unit="batch", leave=False, file=sys.stderr)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """One held-out batch further."""
        if self._held_out is not None:
            self._held_out.update()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar of the held-out clips away."""
        if self._held_out is not None:
            self._held_out.close()
            self._held_out = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ProgressLines(Callback):
    """A plain line every minute where no bar is shown.

    Args:
        throughput: knows the speed; it has to stand before this callback.
    """

    def __init__(self, throughput: Throughput) -> None:
        self._throughput = throughput
        self._told_at = 0.0
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the minute."""
        self._told_at, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell, at a logged step: other steps do not wait for the device."""
        step, speed = trainer.global_step, self._throughput.latest
        is_logged = step != self._step and step % max(trainer.log_every_n_steps, 1) == 0
        self._step = step
        bar = trainer.progress_bar_callback
        if not trainer.is_global_zero or (isinstance(bar, RunProgress) and bar.is_shown):
            return
        if not is_logged or speed is None or time.monotonic() - self._told_at < LINE_EVERY_S:
            return
        self._told_at = time.monotonic()
        loss, left = float(outputs["unscaled"]), duration(speed.seconds_left)
        log_above_bar(f"step {step:,} of {pl_module.total_steps:,}: loss {loss:.4f}, {speed.shown}, {left} left")
