"""Configures the optimizer and the learning rate schedule of a run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

from maedfer.data.loading.loader import batches_per_epoch
from maedfer.errors import UserError
from maedfer.lightning_internals import datamodule_of
from maedfer.models.encoder import VideoEncoder
from maedfer.training.steps.optimizer import OptimizerName, build_optimizer
from maedfer.training.steps.schedule import WarmupCosine, scaled_by_batch


class ScheduledModule(pl.LightningModule):
    """A LightningModule with one optimizer, and one warm-up and cosine over the steps of the whole run.

    Args:
        base_lr: peak learning rate for a global batch of 256.
        min_lr: final learning rate for a global batch of 256.
        warmup_share: share of the run over which the learning rate rises from 0.
        optimizer: `adamw` or `muon`.
        betas: AdamW's.

    Raises:
        UserError: a rate or a share is out of range.
    """

    def __init__(
        self,
        base_lr: float,
        min_lr: float,
        warmup_share: float,
        optimizer: OptimizerName,
        betas: tuple[float, float],
    ) -> None:
        super().__init__()
        if base_lr <= 0:
            raise UserError("base_lr", f"{base_lr} must be above 0")
        if not 0 <= warmup_share < 1:
            raise UserError("warmup_share", f"{warmup_share} must be at least 0 and below 1")
        self._rates = (base_lr, min_lr, warmup_share)
        self.optimizer_name, self._betas = optimizer, (betas[0], betas[1])
        self._schedule: WarmupCosine | None = None

    @abstractmethod
    def exported(self) -> VideoEncoder:
        """Returns the model that goes into the model folder of a run."""

    def start_schedule(self) -> float:
        """Builds the schedule, once the trainer knows the length of the run; returns the peak rate."""
        base, final, warmup = self._rates
        peak, last = (scaled_by_batch(rate, self.global_batch) for rate in (base, final))
        self._schedule = WarmupCosine(peak, last, self.total_steps, round(warmup * self.total_steps))
        return peak

    def scheduled(
        self, model: nn.Module, groups: Sequence[dict[str, Any]], peak: float
    ) -> OptimizerLRSchedulerConfig:
        """Returns the result of `configure_optimizers`; every group follows the schedule in its ratio."""
        optimizer = build_optimizer(self.optimizer_name, model, groups, peak, self._betas)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.learning_rate(step) / peak)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a 0-based optimizer step (of the head, under layer decay)."""
        if self._schedule is None:
            raise RuntimeError("the schedule is built by configure_optimizers, which has not run yet")
        return self._schedule(step)

    @property
    def global_batch(self) -> int:
        """The number of clips of one optimizer step over all ranks and micro-batches."""
        accumulated = int(datamodule_of(self.trainer).batch_size) * self.trainer.accumulate_grad_batches
        return accumulated * self.trainer.world_size

    @property
    def total_steps(self) -> int:
        """The number of optimizer steps of the whole run. Epochs differ by a batch, so each is counted."""
        trainer = self.trainer
        if trainer.max_steps >= 0 or not trainer.max_epochs or trainer.max_epochs < 0:
            return int(trainer.estimated_stepping_batches)
        data = datamodule_of(trainer)
        ends = [data.total_batches(epoch) for epoch in range(trainer.max_epochs + 1)]
        lengths = [batches_per_epoch(trainer, after - before) for before, after in pairwise(ends)]
        # Incomplete accumulation at the end of an epoch is a step, too.
        return sum(ceil(length / trainer.accumulate_grad_batches) for length in lengths)
