"""Skips the optimizer step on every rank when the loss of any rank is NaN or infinite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor

from maedfer.errors import UserError


class StepLost(UserError):
    """Ends a run at a step that cannot be skipped; every rank raises it at the same step.

    Attributes:
        loss: this rank's loss of the micro-batch, perhaps finite.
    """

    def __init__(self, loss: float, parameter: str, message: str) -> None:
        super().__init__(parameter, message)
        self.loss = loss


class OnItsWay:
    """A number on its way from the device: asking for it waits for what came before it, not for what came
    after.
    """

    def __init__(self, number: Tensor) -> None:
        self._number = number.to("cpu", non_blocking=number.is_cuda)
        self._arrived: torch.cuda.Event | None = None
        if number.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def __int__(self) -> int:
        if self._arrived is not None:
            self._arrived.synchronize()
        return int(self._number)


class FiniteSteps(pl.LightningModule):
    """A LightningModule that leaves an optimizer step out when a loss of it is no number on any rank.

    Its `training_step` hands every loss to `watch`, on every rank. A strategy that cannot take gradients back
    (DeepSpeed's engine) asks `left_out` before its backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bad_ranks: list[OnItsWay] = []
        self._is_new = True
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Begin a step: remember running statistics, which the forward pass changes."""
        if self._is_new:
            self._bad_ranks, self._is_new = [], False
            self._statistics = [(values, values.clone()) for values in running_statistics(self)]

    def watch(self, loss: Tensor) -> None:
        """Look at the loss of a micro-batch, and tell all ranks."""
        bad = ~torch.isfinite(loss.detach())
        number = bad.to(torch.int32) * (self.trainer.global_rank + 1)
        if self.trainer.world_size > 1:
            # Not through the strategy: its `reduce` makes all ranks, and each device, wait first.
            torch.distributed.all_reduce(number, op=torch.distributed.ReduceOp.MAX)
        self._bad_ranks.append(OnItsWay(number))

    @property
    def bad_rank(self) -> int | None:
        """The highest rank whose loss of the last micro-batch is no number; None when all are numbers."""
        number = int(self._bad_ranks[-1]) if self._bad_ranks else 0
        return number - 1 if number else None

    @property
    def left_out(self) -> bool:
        """Whether this step is left out: a loss of it, up to now, is no number on some rank."""
        return any(int(number) for number in self._bad_ranks)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Run forward and backward, then take the step or drop its gradients."""
        loss = optimizer_closure()
        self._is_new = True
        if not self.left_out:
            optimizer.step(closure=lambda: loss)
            return
        optimizer.zero_grad()
        for values, before in self._statistics:
            values.copy_(before)


def running_statistics(module: torch.nn.Module) -> list[Tensor]:
    """The statistics of all batch norms."""
    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    return [values for norm in norms for values in norm.buffers(recurse=False)]


class SteadyAverage(EMAWeightAveraging):
    """A moving average of the weights that a step left out does not move."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: FiniteSteps, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average, unless nothing was learnt."""
        if pl_module.left_out:
            self._latest_update_step = (
                trainer.global_step
            )  # else it would be made up for within the next step
        else:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
