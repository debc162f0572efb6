"""Threads of a process that runs the model on a CPU: they leave its loader a core."""

import os

import torch
from pytorch_lightning import Trainer

from maedfer.data.cores import threads_for


def settle_threads(trainer: Trainer, workers: int) -> None:
    """Choose torch's threads where the model runs on a CPU; OMP_NUM_THREADS has the last word.

    Args:
        trainer: knows the device, and how many processes of this machine train.
        workers: loader processes of each.
    """
    if trainer.strategy.root_device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_for(trainer.num_devices, workers))
