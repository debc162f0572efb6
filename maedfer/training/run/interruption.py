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
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from maedfer.training.steps.finite_steps import FiniteSteps, OnItsWay


def validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning evaluates between the step just done and the next.

    Without held-out clips it means to, and then has nothing to do.
    """
    loop = trainer.fit_loop
    due = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    return bool(due) and not loop.epoch_loop.val_loop.skip


class RunInterrupted(BaseException):
    """A run was asked to stop and has written its checkpoint.

    A BaseException, as KeyboardInterrupt is, so that nothing on the way takes it for a failure.
    """

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}")
        self.exit_code = 128 + signal_number


class CheckpointOnSignal(Checkpoint):
    """Writes `checkpoints/last.ckpt` after the step in which a stop signal came to any rank.

    Every rank must take the same decision at the same step, so with several ranks the flag is reduced each
    step, and read a step later, so that nobody waits for a device. Where a validation follows the step it
    comes first, as for `LastCheckpoint`; one that is under way is finished. After a step that was left out
    the checkpoint of before stays. A second Ctrl-C stops at once.

    It has to stand behind the checkpoint of the best value, which a validation may change; a `Checkpoint` so
    that Lightning leaves it there.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._received = 0
        self._agreed: OnItsWay | None = None
        self._step = 0
        self._previous: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep Lightning from answering signals too.

        Under Slurm it would write checkpoints of its own and requeue the job; and on SIGTERM outside of
        training it would talk to the other ranks, in the middle of whatever they are saying. There the signal
        ends the process at once.
        """
        trainer._signal_connector.register_signal_handlers = lambda: None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the two signals for the length of the training."""
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
        """Save and leave when any rank was asked to stop, but not between the micro-batches of a step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not validation_follows(trainer):
            self._stop_if_asked(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same after a validation in training."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._stop_if_asked(trainer, pl_module)

    def _stop_if_asked(self, trainer: Trainer, module: FiniteSteps) -> None:
        """Agree, save and leave.

        Raises:
            RunInterrupted: a rank was asked to stop.
        """
        received = self._received if trainer.world_size == 1 else self._heard_of(module.device)
        if received:
            if not module.left_out:
                trainer.save_checkpoint(self._checkpoint)
            raise RunInterrupted(received, trainer.global_step)

    def _heard_of(self, device: torch.device) -> int:
        """The signal that all ranks knew of a step ago, 0 for none; what they know now is sent on its way."""
        # Not copied there, nor reduced by the strategy: both would wait until the device has done its step.
        flag = torch.full((), self._received, dtype=torch.int32, device=device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        before, self._agreed = self._agreed, OnItsWay(flag)
        return 0 if before is None else int(before)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
