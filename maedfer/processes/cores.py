"""How many processor cores the process may use, and how training and loading share them.

One core of each device is left alone by both sides. A process that trains on a GPU needs it to keep the GPU
busy. One that trains on a CPU shares it with its loader: its threads wait for each other at every operation,
and one that has to wait for a decoding worker holds up all. Measured with one worker on two cores: a tiny
model takes 91 clips/s with one thread and 73 with two, and 40 and 2 beside another program's load; a larger
one, for which decoding is little work, 3.9 and 5.3, so there OMP_NUM_THREADS=2 pays.
"""

from __future__ import annotations

import os

MOST_WORKERS = 16
"""Workers of one device when their number is left open."""


def usable_cores() -> int:
    """Cores that a scheduler or container leaves to this process, of all that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(devices: int) -> int:
    """Loader processes of each device: its share of the cores but one, at least one and not too many."""
    return min(MOST_WORKERS, _all_but_one(devices))


def threads_for(devices: int, workers: int) -> int:
    """Threads of each process that trains on a CPU: its share of the cores, but one where workers load."""
    return _all_but_one(devices) if workers else max(1, usable_cores() // max(1, devices))


def _all_but_one(devices: int) -> int:
    return max(1, usable_cores() // max(1, devices) - 1)
