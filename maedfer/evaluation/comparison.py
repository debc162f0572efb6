"""Types of a comparison of two models on the same clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from maedfer.evaluation.bootstrap import Unit
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
    """Numbers of clips that both models, one or neither gets right, and the p value of the exact test."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Scores of two models on the same clips.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        task: task of both.
        samples: number of clips.
        folds: folds over which scores are averaged; empty without folds.
        unit: kind of unit that was resampled.
        units: number of subjects or clips.
        differences: main scores first, then classes or quantities.
        mcnemar: the test of a classification; None for other tasks.
    """

    first: str
    second: str
    task: Task
    samples: int
    folds: tuple[str, ...]
    unit: Unit
    units: int
    differences: tuple[Difference, ...]
    mcnemar: McNemar | None
