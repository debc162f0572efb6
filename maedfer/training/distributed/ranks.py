"""Ends the other ranks when one cannot go on, with a message and the exit code of the one that knows why.

A launcher (torchrun, Slurm, DeepSpeed) ends what it started. Without one, Lightning starts the other ranks of
a machine itself; its reaction to the end of one of them is changed here.
"""

from __future__ import annotations

import signal

import torch
from pytorch_lightning import Trainer

from maedfer.lightning_internals import launched_processes


def stop_ranks(trainer: Trainer) -> None:
    """Ends the ranks that this process has started: they would wait for it, and hold their GPUs."""
    for process in launched_processes(trainer):
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)


def is_lost_rank(error: BaseException) -> bool:
    """Tests whether an error only reports that another rank has exited."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error)
