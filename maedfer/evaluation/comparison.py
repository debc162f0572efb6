"""The types of a comparison of two models on the same clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from maedfer.tasks import Task


class Difference(NamedTuple):
    """A score of both models, and the interval of the second's minus the first's."""

    score: str
    first: float
    second: float
    interval: tuple[float, float]

    @property
    def value(self) -> float:
        """The second's minus the first's."""
        return self.second - self.first


class McNemar(NamedTuple):
    """Clips that both, one alone or neither gets right, and the p value of the exact test."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the same clips.

    Attributes:
        first: name of the one.
        second: name of the other.
        task: what they answer.
        samples: clips.
        folds: folds whose mean the scores are; empty without.
        unit: what was resampled, `subject` or `clip`.
        units: how many of them there are.
        differences: main scores first, then classes or quantities.
        mcnemar: the test of a classification; None for other tasks.
    """

    first: str
    second: str
    task: Task
    samples: int
    folds: tuple[str, ...]
    unit: str
    units: int
    differences: tuple[Difference, ...]
    mcnemar: McNemar | None
