"""Threads of a process that runs the model on a CPU: they leave its loader a core."""

import os

import torch
from pytorch_lightning import Trainer

from maedfer.processes.cores import threads_for


def settle_threads(trainer: Trainer, workers: int) -> None:
    """Choose torch's threads where the model runs on a CPU; OMP_NUM_THREADS has the last word.

    Args:
        trainer: knows the device, and how many processes of this machine train.
        workers: loader processes of each.
    """
    if trainer.strategy.root_device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    threads = threads_for(trainer.num_devices, workers)
    torch.set_num_threads(threads)
    if (
        trainer.num_devices > 1
    ):  # what the other processes read; without it, Lightning decides for all of them
        os.environ["OMP_NUM_THREADS"] = str(threads)
