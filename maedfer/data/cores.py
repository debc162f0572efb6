"""How many processor cores the process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that a scheduler or container leaves to this process, of all that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
