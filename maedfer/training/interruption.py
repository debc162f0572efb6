"""Ctrl-C and SIGTERM: finish the step, write a checkpoint, say how to go on, and leave with the signal's
code.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.environments import SLURMEnvironment


class RunInterrupted(BaseException):
    """A run was asked to stop and has written its checkpoint.

    A BaseException, as KeyboardInterrupt is, so that nothing on the way takes it for a failure.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.exit_code = 128 + signal_number


class CheckpointOnSignal(Callback):
    """Writes `checkpoints/last.ckpt` after the step in which a stop signal came to any rank.

    Every rank must take the same decision at the same step, so with several ranks the flag is reduced each
    step. A second Ctrl-C stops at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._received = 0
        self._step = 0
        self._previous: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep Lightning from answering Slurm too, with checkpoints of its own and a requeue of the job."""
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment):
            environment.auto_requeue = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the two signals for the length of the training."""
        self._received, self._step = 0, trainer.global_step
        self._previous = {number: signal.signal(number, self._handler()) for number in self.SIGNALS}

    def _handler(self) -> Callable[[int, FrameType | None], None]:
        def note(number: int, frame: FrameType | None) -> None:
            if self._received and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._received = number

        return note

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and leave when any rank was asked to stop, but not between the micro-batches of a step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        received = self._received
        if trainer.world_size > 1:
            flag = torch.tensor(float(received), device=pl_module.device)
            received = int(trainer.strategy.reduce(flag, reduce_op="max"))
        if received:
            trainer.save_checkpoint(self._checkpoint)
            raise RunInterrupted(received, trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
