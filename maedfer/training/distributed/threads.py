"""Limits the threads of a process that runs the model on a CPU, so that its loader keeps a core."""

from __future__ import annotations

import os

import torch
from pytorch_lightning import Trainer

from maedfer.processes.cores import threads_for


def settle_threads(trainer: Trainer, workers: int) -> None:
    """Sets torch's threads where the model runs on a CPU, unless OMP_NUM_THREADS is set.

    Args:
        trainer: gives the device, and how many processes of this machine train.
        workers: loader processes of each.
    """
    if trainer.strategy.root_device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    threads = threads_for(trainer.num_devices, workers)
    torch.set_num_threads(threads)
    if trainer.num_devices > 1:  # read by the other processes; without it Lightning sets it for all of them
        os.environ["OMP_NUM_THREADS"] = str(threads)
