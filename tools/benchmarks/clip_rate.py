"""Clips per second of a running loader: by the clock, and by the seconds that processors spent on it."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from maedfer.errors import UserError

Batches = Generator[dict[str, Any], None, None]
"""Batches with the key `clips`; closing it ends its workers."""


@dataclass(frozen=True)
class Rate:
    """Clips per second of one timed stretch.

    Attributes:
        wall: by the clock.
        core: by the time of all processes involved on a core; None where that cannot be read.
    """

    wall: float
    core: float | None


def rates_in_turn(ways: Mapping[str, Callable[[], Rate]], rounds: int) -> dict[str, list[Rate]]:
    """Measure every way, one after the other, round after round."""
    measured: dict[str, list[Rate]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            measured[name].append(way())
    return measured


def loader_rate(batches: Batches, seconds: float, workers: int) -> Rate:
    """The rate of a loader at work, its start left out.

    The loop here does nothing with a batch, so workers are the slower part and none lies ready: the clock
    starts and stops when a batch comes. The first ones, two of each worker and more, are taken away before.
    Batches are counted by the round, as workers that started together also finish together.

    Args:
        batches: newly started.
        seconds: to measure, at least.
        workers: processes that make the batches; 0: this one.

    Raises:
        UserError: the loader ended before.
    """
    with closing(batches):
        for _ in range(2 * workers + 2):
            _next(batches)
        began, spent, clips = time.perf_counter(), cpu_seconds(), 0
        while time.perf_counter() - began < seconds or not clips:
            for _ in range(max(1, workers)):
                clips += len(_next(batches).clips)
        return _rate(clips, time.perf_counter() - began, spent)


def call_rate(call: Callable[[], int], seconds: float) -> Rate:
    """The rate of a call in this process that says how many clips it made."""
    began, spent, clips = time.perf_counter(), cpu_seconds(), 0
    while time.perf_counter() - began < seconds or not clips:
        clips += call()
    return _rate(clips, time.perf_counter() - began, spent)


def _next(batches: Batches) -> dict[str, Any]:
    batch = next(batches, None)
    if batch is None:
        raise UserError("seconds", "an epoch is shorter than a timed stretch: reduce it")
    return batch


def _rate(clips: int, wall_s: float, spent: float | None) -> Rate:
    now = cpu_seconds()
    return Rate(clips / wall_s, None if now is None or spent is None else clips / max(now - spent, 1e-9))


def cpu_seconds() -> float | None:
    """Time on a core of this process and its living children; None where children cannot be looked at."""
    children = [child.pid for child in multiprocessing.active_children()]
    if children and not Path("/proc/self/stat").is_file():
        return None
    return time.process_time() + sum(_of_process(pid) for pid in children)


def _of_process(pid: int) -> float:
    """Seconds on a core of all threads of a process, in steps of 10 ms (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # a name may have spaces
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def middle(values: list[float | None]) -> float | None:
    """The median; None where something could not be measured."""
    return None if None in values else median(values)


def middle_ratio(values: list[float | None], others: list[float | None]) -> float | None:
    """The median of the ratios within a round, whose two stretches are neighbours in time."""
    if None in values or None in others:
        return None
    return median(value / other for value, other in zip(values, others, strict=True))
