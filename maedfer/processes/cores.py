"""Counts the processor cores that this process may use, and divides them between training and loading.

Training and loading both leave one core of each device free. On a GPU, the training process needs that core
to keep the GPU busy. On a CPU, the threads of the training process wait for each other at every operation,
so one thread that waits for a decoding worker delays all. Measured with one worker on two cores: a tiny
model trains 91 clips/s with one thread and 73 with two, and 40 and 2 beside the load of another program. A
larger model, for which decoding is little work, trains 3.9 and 5.3 clips/s, so there OMP_NUM_THREADS=2 pays.
"""

from __future__ import annotations

import os

MAX_WORKERS = 16
"""Loader workers of one device, at most, unless the user sets their number."""


def usable_cores() -> int:
    """Returns the number of cores that a scheduler or container leaves to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(devices: int) -> int:
    """Returns the number of loader workers per device: its share of the cores less one, within 1 and 16."""
    return min(MAX_WORKERS, _all_but_one(devices))


def threads_for(devices: int, workers: int) -> int:
    """Returns the number of threads per training process on a CPU: its cores, less one if workers load."""
    return _all_but_one(devices) if workers else max(1, usable_cores() // max(1, devices))


def _all_but_one(devices: int) -> int:
    return max(1, usable_cores() // max(1, devices) - 1)
