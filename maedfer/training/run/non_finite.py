"""A loss that is no number: its step is left out on all ranks, and the clips are written down.

A single bad batch must not end a run of weeks, nor may it reach the weights. All ranks take the same
decision, as the gradients of one go into the weights of all. What stays as it was: weights, the optimizer's
moments, running statistics, a moving average of the weights. What goes on: the step counts, with its learning
rate, and its clips count as seen, so that a resumed run does the same.

Under gradient accumulation the whole optimizer step is left out, with the good micro-batches in it: their
gradients lie in the same sum as the bad one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from maedfer.data.loading.batch import ClipBatch
from maedfer.training.run.records import StepTable, trim_ranks
from maedfer.training.run.screen import tell
from maedfer.training.steps.finite_steps import FiniteSteps, StepLost

COLUMNS = ("step", "rank", "loss", "key", "start")
"""Columns of `non_finite/rank<r>.csv`: a row for each clip of a batch that was left out."""

STEPS_TOLD = 10
"""Left-out steps that are told one by one."""

REMEDY = "lower --model.base_lr, clip with --trainer.gradient_clip_val 1, or take --trainer.precision 32-true"


class NonFiniteLoss(Callback):
    """Writes down the clips of batches that were left out, counts the steps, and stops at too many in a row.

    Args:
        folder: the run folder; each rank appends to its `non_finite/rank<r>.csv`.
        stop_after: so many left-out steps in a row end the run.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(self, folder: Path, stop_after: int) -> None:
        if stop_after < 1:
            raise ValueError(f"--stop_after_skipped {stop_after} must be 1 or more")
        self._folder, self._stop_after = folder / "non_finite", stop_after
        self._path: Path | None = None
        self._batch: ClipBatch | None = None
        self._step = 0
        self._rows: list[dict[str, Any]] = []
        self.skipped, self._in_a_row = 0, 0

    def state_dict(self) -> dict[str, int]:
        """The counts, for the checkpoint; the same on every rank."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Count on."""
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop what a resumed run will do again."""
        self._step = trainer.global_step
        self._path = trim_ranks(self._folder, trainer, ",".join(COLUMNS) + "\n", ",")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember which clips come."""
        self._batch = batch

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the clips of a micro-batch that ends the run."""
        if isinstance(exception, StepLost):
            self._note(trainer, pl_module.bad_rank, exception.loss, self._batch)
            self._write(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: FiniteSteps, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the clips of a bad micro-batch; at the end of its step write, count, and perhaps stop.

        Raises:
            ValueError: too many steps in a row were left out.
            SystemExit: the same on the other ranks, which need not say it again.
        """
        if pl_module.bad_rank is not None:
            self._note(trainer, pl_module.bad_rank, float(outputs["unscaled"]), batch)
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not self._rows:
            self._in_a_row = 0
            return
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        self._write(trainer)
        if self._in_a_row >= self._stop_after:
            if not trainer.is_global_zero:
                raise SystemExit(2)
            raise ValueError(
                f"the loss was no number in {self._in_a_row} steps in a row, up to step {self._step} (clips: "
                f"{self._folder}): {REMEDY}"
            )

    def _note(self, trainer: Trainer, bad_rank: int, loss: float, batch: ClipBatch) -> None:
        """Keep the rows of a micro-batch, and say that its step is lost."""
        step, rank = self._step + 1, trainer.global_rank
        self._rows += [
            {"step": step, "rank": rank, "loss": loss, "key": key, "start": f"{start:.3f}"}
            for key, start in zip(batch.keys, batch.starts, strict=True)
        ]
        if self.skipped < STEPS_TOLD:
            last = "; further ones are only counted" if self.skipped == STEPS_TOLD - 1 else ""
            tell(
                f"warning: step {step} is left out: its loss is no number on rank {bad_rank} (clips: "
                f"{self._folder}){last}"
            )

    def _write(self, trainer: Trainer) -> None:
        """Append the rows of a step, at once on the disk."""
        self._folder.mkdir(parents=True, exist_ok=True)
        table = StepTable(self._path, COLUMNS, self._step)
        for row in self._rows:
            table.append(row)
        table.close()
        self._rows = []

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many steps were left out."""
        if self.skipped:
            tell(
                f"{self.skipped} of {trainer.global_step} steps were left out, as their loss was no number "
                f"(clips: {self._folder})"
            )


def skipped_steps(trainer: Trainer) -> int:
    """Steps of the whole run that were left out."""
    return next(c for c in trainer.callbacks if isinstance(c, NonFiniteLoss)).skipped
