"""Compares two models on the same test clips: differences, bootstrap intervals, McNemar's test.

McNemar's test (1947) in its exact form asks whether the clips that only one model gets right are split evenly
between the two; it assumes that clips are independent. The bootstrap draws the same clips for both models,
whole subjects where they are known, within folds, and gives an interval of the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from maedfer.errors import UserError
from maedfer.evaluation.bootstrap import ScoredSet, Unit, interval, mean_over, resample, resampling_units
from maedfer.evaluation.predictions import Predictions, RunPredictions
from maedfer.evaluation.scores import score_sums
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


def align_clips(first: RunPredictions, second: RunPredictions) -> RunPredictions:
    """Returns the second run with its clips and classes in the order of the first.

    Raises:
        UserError: their tasks, classes, clips, labels or folds differ.
    """
    one, other, both = first.predictions, second.predictions, f"{first.name} and {second.name}"
    if one.task != other.task or sorted(one.names) != sorted(other.names):
        raise UserError(
            None,
            f"{first.name} predicts {one.task.name} of {', '.join(one.names)}, {second.name} "
            f"{other.task.name} of {', '.join(other.names)}: compare runs with the same task and classes",
        )
    keys, others = set(one.keys), set(other.keys)
    if keys != others:
        raise UserError(
            None,
            f"{both} were tested on different clips: {len(keys - others)} of {len(keys)} are only in the "
            f"first, {len(others - keys)} of {len(others)} only in the second; evaluate both on the same "
            "shards and split",
        )
    place = {key: row for row, key in enumerate(other.keys)}
    rows = np.array([place[key] for key in one.keys])
    classes = [other.names.index(name) for name in one.names]
    outputs, targets = other.outputs[rows][:, classes], other.targets[rows][:, classes]
    unlike = int((~np.isclose(targets, one.targets, atol=1e-6)).any(1).sum())
    if unlike:
        raise UserError(None, f"{both} have different labels for {unlike} of {len(one)} clips")
    samples = [second.samples[row] for row in rows]
    if first.has_folds and second.has_folds:
        moved = sum(a.fold != b.fold for a, b in zip(first.samples, samples, strict=True))
        if moved:
            raise UserError(None, f"{both} have different folds for {moved} of {len(one)} clips")
    aligned = Predictions(one.keys, outputs, targets, one.names, one.task)
    return replace(second, predictions=aligned, samples=samples)


def compare_runs(first: RunPredictions, second: RunPredictions) -> Comparison:
    """Returns the scores of two aligned runs, their differences with intervals, and McNemar's test."""
    one, other, task = first.predictions, second.predictions, first.predictions.task
    samples = first.samples if first.has_folds or not second.has_folds else second.samples
    folds = rows_by_fold([sample.fold for sample in samples], first.has_folds or second.has_folds)
    units, unit = resampling_units([[first.samples[row] for row in rows] for rows in folds.values()])
    pairs = [(one.take(rows), other.take(rows)) for rows in folds.values()]
    drawn = resample([ScoredSet(pair, own) for pair, own in zip(pairs, units, strict=True)])
    values = [mean_over([score_sums(pair[model]).of_all for pair in pairs]) for model in (0, 1)]
    names = [*task.main_scores, *(f"{task.class_score}_{name}" for name in one.names)]
    differences = [
        Difference(n, float(values[0][n]), float(values[1][n]), interval(drawn[1][n] - drawn[0][n]))
        for n in names
    ]
    return Comparison(
        first=first.name,
        second=second.name,
        task=task,
        samples=len(one),
        folds=tuple(folds) if len(folds) > 1 else (),
        unit=unit,
        units=len({sample.key if unit == "clip" else sample.subject for sample in first.samples}),
        differences=tuple(differences),
        mcnemar=mcnemar(one, other) if task.is_single_label else None,
    )


def rows_by_fold(folds: Sequence[str | None], has_folds: bool) -> dict[str, NDArray[np.int64]]:
    """Returns the rows of the clips of each fold; all rows under an empty name if scores are not by fold."""
    column = np.array([fold or "" for fold in folds]) if has_folds else np.full(len(folds), "")
    return {str(name): np.flatnonzero(column == name) for name in dict.fromkeys(column.tolist())}


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """Tests whether clips that exactly one model gets right are as likely the first's as the second's."""
    right, right_too = (model.truth == model.predicted for model in (first, second))
    only_first, only_second = int((right & ~right_too).sum()), int((right_too & ~right).sum())
    unlike = only_first + only_second
    return McNemar(
        both=int((right & right_too).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~right & ~right_too).sum()),
        p=float(binomtest(only_first, unlike, 0.5).pvalue) if unlike else 1.0,
    )
