"""Timing several ways of doing the same thing against each other.

The ways take turns, round after round: a busy neighbour or a processor that grows hot meets all of them, and
the ratios stay honest where the seconds do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from maedfer.errors import UserError


@dataclass(frozen=True)
class Timing:
    """Seconds of each call of one way, in the order of the rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def ratio_to(self, other: Timing) -> float:
        """How long this way takes, in times of the other: the median over the rounds.

        Both calls of a round are neighbours in time, so that a slow minute does not tell for either.
        """
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def in_turn(
    ways: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, Timing]:
    """Time every way, one after the other, round after round, after one round that is not counted.

    Args:
        ways: what to call, by name.
        repeats: rounds that count.
        device: where the work happens; a GPU is waited for before and after each call.

    Raises:
        UserError: no rounds.
    """
    if repeats < 1:
        raise UserError("repeats", f"{repeats} must be 1 or more")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(repeats + 1):
        for name, way in ways.items():
            spent = _timed(way, torch.device(device))
            if round_number:
                seconds[name].append(spent)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _timed(way: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    began = time.perf_counter()
    way()
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
