"""How many processor cores the process may use."""

from __future__ import annotations

import os

MOST_WORKERS = 16
"""Workers of one device when their number is left open."""


def usable_cores() -> int:
    """Cores that a scheduler or container leaves to this process, of all that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(devices: int) -> int:
    """Loader processes of each device: the cores this process may use, shared by the node's devices."""
    return min(MOST_WORKERS, max(1, usable_cores() // max(1, devices)))
