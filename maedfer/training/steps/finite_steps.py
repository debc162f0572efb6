"""Skips the optimizer step on every rank when the loss of any rank is NaN or infinite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from maedfer.errors import UserError
from maedfer.lightning_internals import skip_averaging


class StepLost(UserError):
    """Ends a run because of losses that are NaN or infinite; every rank raises it at the same step."""


class PendingScalar:
    """A number on its way from the device. Reading it waits for the work before it, not for later work."""

    def __init__(self, number: Tensor) -> None:
        self._number = number.to("cpu", non_blocking=number.is_cuda)
        self._arrived: torch.cuda.Event | None = None
        if number.is_cuda:
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no annotation
            self._arrived.record()

    def __int__(self) -> int:
        if self._arrived is not None:
            self._arrived.synchronize()
        return int(self._number)


class FiniteSteps(pl.LightningModule):
    """A LightningModule that skips an optimizer step when any of its losses is NaN or infinite on any rank.

    Its `training_step` passes every loss to `watch`, on every rank. A strategy that cannot take gradients
    back (DeepSpeed's engine) reads `is_skipped` before its backward pass.

    Attributes:
        step_ended: whether the last micro-batch was the last one of its optimizer step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bad_ranks: list[PendingScalar] = []
        self.step_ended = True
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Begins a step: copies running statistics, which the forward pass changes."""
        if self.step_ended:
            self._bad_ranks, self.step_ended = [], False
            self._statistics = [(values, values.clone()) for values in running_statistics(self)]

    def watch(self, loss: Tensor) -> None:
        """Checks the loss of a micro-batch on all ranks, without waiting for the device."""
        bad = ~torch.isfinite(loss.detach())
        number = bad.to(torch.int32) * (self.trainer.global_rank + 1)
        if self.trainer.world_size > 1:
            # Not through the strategy: its `reduce` makes all ranks, and each device, wait first.
            torch.distributed.all_reduce(number, op=torch.distributed.ReduceOp.MAX)
        self._bad_ranks.append(PendingScalar(number))

    @property
    def bad_rank(self) -> int | None:
        """The highest rank whose loss of the last micro-batch is NaN or infinite; None without one."""
        number = int(self._bad_ranks[-1]) if self._bad_ranks else 0
        return number - 1 if number else None

    @property
    def is_skipped(self) -> bool:
        """True if a loss of this step, up to now, is NaN or infinite on some rank."""
        return any(int(number) for number in self._bad_ranks)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Runs forward and backward, then takes the step or drops its gradients."""
        loss = optimizer_closure() if optimizer_closure else None
        self.step_ended = True
        if not self.is_skipped:
            optimizer.step(closure=lambda: loss)
            return
        optimizer.zero_grad()
        for values, before in self._statistics:
            values.copy_(before)


def running_statistics(module: torch.nn.Module) -> list[Tensor]:
    """Returns the running statistics of all batch norms; of our models a linear probe has one."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    return [values for norm in norms for values in norm.buffers(recurse=False)]


class SteadyAverage(EMAWeightAveraging):
    """A moving average of the weights that ignores skipped steps."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Averages, unless the step was skipped."""
        if pl_module.is_skipped:
            skip_averaging(self, trainer.global_step)
        else:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
