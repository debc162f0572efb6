"""One bar for the whole run: steps done, time left, the loss. Lightning's own bars start anew every epoch."""

from __future__ import annotations

import sys
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm


class RunProgress(ProgressBar):
    """A tqdm bar over the optimizer steps of a run, and a passing one over held-out clips."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm | None = None
        self._held_out: tqdm | None = None
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls this on every rank but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

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
            self._bar.set_postfix_str(f"loss {float(outputs['unscaled']):.4f}", refresh=False)

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
