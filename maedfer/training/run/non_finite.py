"""Counts the steps that are skipped because a loss is NaN or infinite, and names the clips involved.

One bad batch must not end a run of weeks, nor reach the weights. `FiniteSteps` skips the optimizer step on
all ranks; weights, optimizer state, running statistics and a moving average of the weights stay as they were.
The step counts, with its learning rate, and its clips count as seen, so that a resumed run repeats it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from maedfer.data.loading.batch import ClipBatch
from maedfer.errors import UserError
from maedfer.lightning_internals import callbacks_of
from maedfer.training.run.records import StepTable
from maedfer.training.run.screen import print_rank_zero
from maedfer.training.steps.finite_steps import StepLost


class NonFiniteLoss(Callback):
    """Names clips in `non_finite.csv`, counts skipped steps, and stops the run at too many of them in a row.

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
        self._rows: list[dict[str, Any]] = []
        self.skipped, self._in_a_row = 0, 0

    def state_dict(self) -> dict[str, int]:
        """Returns the counts for the checkpoint; they are the same on every rank."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restores the counts."""
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch, batch_idx: int
    ) -> None:
        """Names the clips of a bad micro-batch; at the end of its step counts it, and perhaps stops.

        Raises:
            StepLost: too many steps in a row were skipped.
        """
        step = trainer.global_step + (not pl_module.step_ended)
        if pl_module.bad_rank is not None:
            self._note_clips(trainer, step, batch)
            print_rank_zero(
                f"warning: step {step} is skipped: its loss is NaN or infinite on rank {pl_module.bad_rank} "
                f"(clips: {self._path})"
            )
        if not pl_module.step_ended:
            return
        if self._rows and trainer.is_global_zero:
            table = StepTable(self._path, tuple(self._rows[0]), resume_step=step - 1)
            for row in self._rows:
                table.append(row)
            table.close()
        is_skipped, self._rows = bool(self._rows), []
        self.skipped, self._in_a_row = self.skipped + is_skipped, (self._in_a_row + 1) * is_skipped
        if self._in_a_row >= self._stop_after:
            raise StepLost(
                None,
                f"the loss was NaN or infinite in {self._in_a_row} steps in a row, up to step {step} (clips: "
                f"{self._path}): lower `base_lr`, or take `gradient_clip_val=1` or `precision=32-true`",
            )

    def _note_clips(self, trainer: Trainer, step: int, batch: ClipBatch) -> None:
        """Collects the clips of all ranks, each of which calls this."""
        own = list(zip(batch.keys, batch.starts, strict=True))
        of_ranks = [own] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(of_ranks, own)
        for rank, clips in enumerate(of_ranks):
            for key, start in clips:
                self._rows.append({"step": step, "rank": rank, "key": key, "start": f"{start:.3f}"})


def skipped_steps(trainer: Trainer) -> int:
    """Returns the number of skipped steps of the whole run."""
    return next(c for c in callbacks_of(trainer) if isinstance(c, NonFiniteLoss)).skipped
