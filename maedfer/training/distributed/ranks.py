"""When one rank cannot go on: the others end too, in words, with the exit code of the one that knows why.

A launcher (torchrun, Slurm, DeepSpeed) ends what it started. Without one, Lightning starts the other ranks of
a machine itself; what it does when one of them ends is changed here.
"""

import signal
import threading

import torch
from pytorch_lightning import Trainer


def watch_no_longer() -> None:
    """Let this rank leave in peace: Lightning kills it as soon as a rank that it started has left before.

    Those leave on purpose here, with the code of a signal or after a message; the kill would hide both.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._child_processes = []


def stop_ranks(trainer: Trainer) -> None:
    """End the ranks that this process has started: they would wait for it, and hold their GPUs."""
    for process in getattr(trainer.strategy.launcher, "procs", ()):
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)


def lost_rank(error: BaseException) -> bool:
    """Whether an error says no more than that another rank has left."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error)
