"""Memory of a loader's processes over many clips: a leak shows as a slope."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clip_rate import Batches
from benchmarks.result import Row

KINDS = {"rss": ("Rss",), "pss": ("Pss",), "uss": ("Private_Clean", "Private_Dirty")}
"""Resident set; the same with shared pages divided among their users; what ending a process would free."""


def can_measure() -> bool:
    """Whether this system tells the memory of a process (Linux does)."""
    return Path("/proc/self/smaps_rollup").is_file()


def memory_of(pid: int) -> dict[str, float]:
    """Memory of a process in MiB, of each kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return {kind: sum(kib[field] for field in fields) / 1024 for kind, fields in KINDS.items()}


def memory_rows(shards: str, batches: Batches, clips: int, every: int) -> list[Row]:
    """What the worker and the main process hold, looked at after each `every` clips.

    Args:
        shards: their name.
        batches: newly started, with one worker.
        clips: to read.
        every: clips between two looks.

    Returns:
        A row for each process: `clips`, of each kind of memory `first_`, `last_` and `slope_`, all `points`.
    """
    seen, counts, points = 0, [], {"worker": [], "main": []}
    with closing(batches):
        for batch in batches:
            seen += len(batch.clips)
            if seen >= (len(counts) + 1) * every:
                (worker,) = multiprocessing.active_children()
                counts.append(seen)
                points["worker"].append(memory_of(worker.pid))
                points["main"].append(memory_of(os.getpid()))
            if seen >= clips:
                break
    return [{"shards": shards, "process": name} | _summary(counts, each) for name, each in points.items()]


def _summary(counts: Sequence[int], points: Sequence[dict[str, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"clips": counts[-1], "points": {"clips": list(counts)}}
    for kind in KINDS:
        values = [point[kind] for point in points]
        row |= {
            f"first_{kind}": values[0],
            f"last_{kind}": values[-1],
            f"slope_{kind}": slope(counts, values),
        }
        row["points"][kind] = values
    return row


def slope(clips: Sequence[float], values: Sequence[float]) -> float | None:
    """Growth per 1,000 clips: a straight line through the later three quarters; None for one point.

    The first quarter is left out: it fills what stays, such as the allocator's pools.
    """
    late = len(clips) // 4
    if len(clips) - late < 2:
        return None
    return float(np.polyfit(np.asarray(clips[late:]) / 1000, values[late:], 1)[0])
