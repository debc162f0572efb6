"""Shows the progress of a run: a bar on a terminal, a plain line every minute in a log.

One bar covers the whole run, with steps done, time left, the loss and the speed; Lightning's bars start anew
every epoch.
"""

from __future__ import annotations

import sys
import time
from typing import Any, NoReturn, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from maedfer.lightning_internals import is_logged
from maedfer.text import duration
from maedfer.training.run.screen import print_rank_zero
from maedfer.training.run.throughput import Throughput
from maedfer.training.steps.scheduled_module import ScheduledModule

LINE_EVERY_S = 60
"""Seconds between the plain lines of a run without a bar."""


class RunProgress(ProgressBar):
    """A tqdm bar over the optimizer steps of a run, and a temporary one over held-out clips.

    Both are shown on a terminal only: in a log, a bar would be one long line.

    Args:
        throughput: measures the speed of a training.
    """

    def __init__(self, throughput: Throughput | None = None) -> None:
        super().__init__()
        self._throughput = throughput
        self._bar: tqdm[NoReturn] | None = None
        self._held_out: tqdm[NoReturn] | None = None
        self._enabled = sys.stderr.isatty()

    def disable(self) -> None:
        """Hides the bar; Lightning calls this on every rank but the first."""
        self._enabled = False

    @property
    def is_shown(self) -> bool:
        """True if a bar is on the screen."""
        return self._bar is not None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the bar at the step that the run continues from."""
        super().on_train_start(trainer, pl_module)
        if self._enabled:
            total, done = cast(ScheduledModule, pl_module).total_steps, trainer.global_step
            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, mininterval=0.5)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves to the current step. Reading the loss waits for the device, so only some steps do."""
        if self._bar is None:
            return
        self._bar.update(trainer.global_step - self._bar.n)
        if is_logged(trainer, at_least=10):
            speed = self._throughput and self._throughput.latest
            text = f"loss {float(outputs['unscaled']):.4f}" + (f", {speed.shown}" if speed else "")
            self._bar.set_postfix_str(text, refresh=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar of the held-out clips."""
        if self._enabled:
            total = sum(trainer.num_val_batches)
            self._held_out = tqdm(total=total, desc="held out", unit="batch", leave=False)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Moves the bar of the held-out clips."""
        if self._held_out is not None:
            self._held_out.update()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Removes the bar of the held-out clips."""
        if self._held_out is not None:
            self._held_out.close()
            self._held_out = None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the bar; its last state stays on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ProgressLines(Callback):
    """Prints a plain line every minute where no bar is shown.

    Args:
        throughput: measures the speed.
    """

    def __init__(self, throughput: Throughput) -> None:
        self._throughput = throughput
        self._printed_at = 0.0
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._printed_at, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints at a logged step only, because other steps do not wait for the device."""
        step, speed = trainer.global_step, self._throughput.latest
        is_due = step != self._step and is_logged(trainer)
        self._step = step
        bar = trainer.progress_bar_callback
        if not trainer.is_global_zero or (isinstance(bar, RunProgress) and bar.is_shown):
            return
        if not is_due or speed is None or time.monotonic() - self._printed_at < LINE_EVERY_S:
            return
        self._printed_at = time.monotonic()
        loss, left = float(outputs["unscaled"]), duration(speed.seconds_left)
        total = cast(ScheduledModule, pl_module).total_steps
        print_rank_zero(f"step {step:,} of {total:,}: loss {loss:.4f}, {speed.shown}, {left} left")
