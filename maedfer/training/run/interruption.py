"""Handles Ctrl-C and SIGTERM: finishes the step, writes a checkpoint, and exits with the signal's code."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from maedfer.lightning_internals import ignore_signals, validation_follows
from maedfer.training.steps.finite_steps import FiniteSteps, PendingScalar


class RunInterrupted(BaseException):
    """Reports that a run was asked to stop and has written its checkpoint.

    A BaseException, as KeyboardInterrupt is, so that no handler of failures catches it.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.exit_code = 128 + signal_number


class CheckpointOnSignal(Checkpoint):
    """Writes `checkpoints/last.ckpt` after the step in which any rank got a stop signal, and ends the run.

    All ranks must decide alike at the same step. With several ranks the flag is reduced after each step, and
    read a step later, so that no rank waits for a device. If a validation follows the step or is running, it
    is finished first, as for `LastCheckpoint`. After a skipped step the previous checkpoint stays. A second
    Ctrl-C stops at once.

    It is a `Checkpoint` so that Lightning keeps it behind `BestCheckpoint`, whose state a validation changes.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._received = 0
        self._agreed: PendingScalar | None = None
        self._step = 0
        self._previous: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keeps Lightning from handling signals too.

        Under Slurm it would write checkpoints of its own and requeue the job. On SIGTERM outside of training
        it would start a collective in the middle of another one; without it the signal ends the process.
        """
        ignore_signals(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Installs the handlers of the two signals for the length of the training."""
        self._received, self._agreed, self._step = 0, None, trainer.global_step
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
        """Saves and stops if any rank was asked to, but not between the micro-batches of a step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not validation_follows(trainer):
            self._stop_if_asked(trainer, cast(FiniteSteps, pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves and stops after a validation in training."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._stop_if_asked(trainer, cast(FiniteSteps, pl_module))

    def _stop_if_asked(self, trainer: Trainer, module: FiniteSteps) -> None:
        """Agrees with the other ranks, saves and stops.

        Raises:
            RunInterrupted: a rank was asked to stop.
        """
        received = self._received if trainer.world_size == 1 else self._agreed_signal(module.device)
        if received:
            if not module.is_skipped:
                trainer.save_checkpoint(self._checkpoint)
            raise RunInterrupted(received, trainer.global_step)

    def _agreed_signal(self, device: torch.device) -> int:
        """Returns the signal that some rank had got a step ago, 0 for none, and reduces the present ones."""
        # Made on the device, not copied there, and not reduced by the strategy: both would wait for the step.
        flag = torch.full((), self._received, dtype=torch.int32, device=device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        before, self._agreed = self._agreed, PendingScalar(flag)
        return 0 if before is None else int(before)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restores the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
