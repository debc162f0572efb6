"""Holds every use of a private or undeclared attribute of Lightning and DeepSpeed behind a named function.

A release of either may rename one without notice; `tests/test_lightning_internals.py` checks them all.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.callbacks import EMAWeightAveraging
    from pytorch_lightning.plugins.precision import Precision
    from pytorch_lightning.strategies import DeepSpeedStrategy
    from torch import Tensor, optim

OVERRIDDEN = ("_format_config",)
"""Private methods of Lightning's DeepSpeedStrategy that `ZeroStrategy` overrides."""

OBSERVER = "child-process-observer"
"""Name of the thread in which Lightning watches the ranks that it has started."""


def datamodule_of(trainer: Trainer) -> Any:
    """Returns the data module of a run; Lightning sets the attribute without declaring it."""
    return trainer.datamodule  # type: ignore[attr-defined]  # set by Lightning's data connector


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Returns the callbacks of a run, which can be replaced in place."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return callbacks


def rank_before_fit() -> int:
    """Returns the rank of this process, which a launcher has set, also before a trainer joins the ranks."""
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    return int(rank_zero_only.rank)  # type: ignore[attr-defined]  # set on the function by Lightning


def is_logged(trainer: Trainer, at_least: int = 1) -> bool:
    """Tests whether the step just done is one that the trainer logs, every `at_least` steps at most."""
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's logger connector
    return bool(trainer.global_step % max(every, at_least) == 0)


def validation_follows(trainer: Trainer) -> bool:
    """Tests whether Lightning evaluates between the step just done and the next."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    due = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
    # Without held-out clips a validation is due, and then skipped.
    return bool(due) and not loop.epoch_loop.val_loop.skip


def is_accumulating(trainer: Trainer) -> bool:
    """Tests whether more micro-batches of the current optimizer step follow this one."""
    return bool(trainer.fit_loop._should_accumulate())


def batches_begun(trainer: Trainer) -> int:
    """Returns how many batches of the current epoch Lightning has asked for."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


def set_epoch_length(trainer: Trainer, batches: int) -> None:
    """Corrects the length of the current epoch, which Lightning measured when the loader was made."""
    loop = trainer.fit_loop
    loop.max_batches = batches
    if loop._data_fetcher is not None:
        loop._data_fetcher.length = batches
    if isinstance(trainer.val_check_interval, float) and trainer.val_check_batch is not None:
        trainer.val_check_batch = max(1, int(batches * trainer.val_check_interval))


def ignore_signals(trainer: Trainer) -> None:
    """Keeps Lightning from installing signal handlers when the training starts."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # on purpose


def launched_processes(trainer: Trainer) -> Sequence[subprocess.Popen[bytes]]:
    """Returns the processes of the ranks that Lightning has started from this one."""
    return getattr(trainer.strategy.launcher, "procs", ())


def forget_children() -> None:
    """Disables Lightning's child observer, which kills this rank as soon as a rank that it started exits."""
    for thread in threading.enumerate():
        if thread.name == OBSERVER:
            thread._child_processes = []  # type: ignore[attr-defined]  # an attribute of Lightning's subclass


def skip_averaging(average: EMAWeightAveraging, step: int) -> None:
    """Marks a step as averaged, so that a moving average does not catch up on it at the next batch."""
    average._latest_update_step = step


def unscale_before_clipping(optimizer: optim.Optimizer) -> None:
    """Lets Lightning clip gradients of a fused optimizer in mixed precision: they are unscaled before.

    It refuses to clip for an optimizer that is marked as unscaling gradients itself.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # set by torch's fused optimizers


def set_precision_plugin(strategy: DeepSpeedStrategy, plugin: Precision | None) -> None:
    """Replaces the precision plugin of a strategy."""
    strategy._precision_plugin = plugin


def join_over_gloo(strategy: DeepSpeedStrategy) -> None:
    """Joins the ranks of a DeepSpeed strategy over gloo, without kernels that DeepSpeed would compile."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    strategy._process_group_backend = "gloo"
    strategy._init_deepspeed_distributed()


def engine_backward(engine: Any, loss: Tensor) -> None:
    """Runs the backward pass of DeepSpeed's engine on a loss that is divided by the micro-batches already."""
    engine.backward(loss, scale_wrt_gas=False)
