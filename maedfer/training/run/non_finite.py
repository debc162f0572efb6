"""Counts the steps that are skipped because a loss is NaN or infinite, and names the clips involved.

One bad batch must not end a run of weeks, nor reach the weights. `FiniteSteps` skips the optimizer step on
all ranks; weights, optimizer state, running statistics and a moving average of the weights stay as they were.
The step counts, with its learning rate, and its clips count as seen, so that a resumed run repeats it.

Under gradient accumulation the whole optimizer step is skipped, with its good micro-batches, because their
gradients are summed with the bad ones.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from maedfer.data.loading.batch import ClipBatch
from maedfer.errors import UserError
from maedfer.lightning_internals import callbacks_of
from maedfer.training.run.records import StepTable
from maedfer.training.run.screen import log_above_bar
from maedfer.training.steps.finite_steps import StepLost

COLUMNS = ("step", "rank", "key", "start")
"""Columns of `non_finite.csv`: a row for each clip of a micro-batch whose loss is NaN or infinite."""


class NonFiniteLoss(Callback):
    """Writes `non_finite.csv`, counts skipped steps, and stops the run at too many of them in a row.

    Args:
        folder: the run folder.
        stop_after: number of skipped steps in a row that ends the run.

    Raises:
        UserError: `stop_after` is below 1.
    """

    def __init__(self, folder: Path, stop_after: int) -> None:
        if stop_after < 1:
            raise UserError("stop_after_skipped", f"{stop_after} must be 1 or more")
        self._path, self._stop_after = folder / "non_finite.csv", stop_after
        self._batch: ClipBatch | None = None
        self._step = 0
        self.skipped, self._in_a_row = 0, 0

    def state_dict(self) -> dict[str, int]:
        """Returns the counts for the checkpoint; they are the same on every rank."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restores the counts."""
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops the rows of steps that a resumed run repeats."""
        self._step = trainer.global_step
        if trainer.is_global_zero and self._path.exists():
            StepTable(self._path, COLUMNS, self._step).close()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch, batch_idx: int
    ) -> None:
        """Keeps the batch for the case that an exception ends its step."""
        self._batch = batch

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Names the clips of a micro-batch that ends the run."""
        if isinstance(exception, StepLost) and self._batch is not None:
            self._name_clips(trainer, self._batch, exception.loss)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        """Names the clips of a bad micro-batch; at the end of its step counts it, and perhaps stops.

        Raises:
            StepLost: too many steps in a row were skipped.
        """
        self._batch = None
        if pl_module.bad_rank is not None:
            self._name_clips(trainer, batch, float(outputs["unscaled"]))
            log_above_bar(
                f"warning: step {self._step + 1} is skipped: its loss is NaN or infinite on rank "
                f"{pl_module.bad_rank} (clips: {self._path})"
            )
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        is_skipped = bool(pl_module.is_skipped)
        self._in_a_row = self._in_a_row + 1 if is_skipped else 0
        self.skipped += is_skipped
        if self._in_a_row >= self._stop_after:
            raise StepLost(
                None,
                f"the loss was NaN or infinite in {self._in_a_row} steps in a row, up to step {self._step} "
                f"(clips: {self._path}): lower `base_lr`, clip with `gradient_clip_val=1`, or take "
                "`precision=32-true`",
            )

    def _name_clips(self, trainer: Trainer, batch: ClipBatch, loss: float) -> None:
        """Writes the clips of all ranks whose loss is NaN or infinite; every rank calls this."""
        own = [] if math.isfinite(loss) else list(zip(batch.keys, batch.starts, strict=True))
        of_ranks = [own] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(of_ranks, own)
        if trainer.is_global_zero:
            table = StepTable(self._path, COLUMNS, self._step + 1)
            for rank, clips in enumerate(of_ranks):
                for key, start in clips:
                    table.append({"step": self._step + 1, "rank": rank, "key": key, "start": f"{start:.3f}"})
            table.close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints how many steps were skipped."""
        if self.skipped:
            log_above_bar(
                f"{self.skipped} of {trainer.global_step} steps were skipped, as their loss was NaN or "
                f"infinite (clips: {self._path})"
            )


def skipped_steps(trainer: Trainer) -> int:
    """Returns the number of skipped steps of the whole run."""
    return next(c for c in callbacks_of(trainer) if isinstance(c, NonFiniteLoss)).skipped
