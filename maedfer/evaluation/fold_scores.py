"""Scores of several test folds together: mean and spread, an interval, and the answers pooled.

The published protocol: scores of each fold, then their mean. The standard deviation is that of the folds
(n - 1), which also differ in their training clips; the interval is that of the mean for other test clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np

from maedfer.evaluation.bootstrap import ScoredPart, interval, mean_over, resample, units_of
from maedfer.evaluation.measures import decisions
from maedfer.evaluation.predictions import Predictions, read_abouts, read_predictions
from maedfer.evaluation.scores import score_sums, scores


@dataclass(frozen=True, eq=False)
class FoldAnswers:
    """What the run of a fold said of its test clips, and what the file says of those (`read_abouts`)."""

    fold: str
    predictions: Predictions
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class ClassOverFolds:
    """One class (or quantity): its score in each fold, NaN where it has no samples there, and the samples."""

    name: str
    each: tuple[float, ...]
    mean: float
    samples: int


@dataclass(frozen=True, eq=False)
class FoldScores:
    """The scores of several folds.

    Attributes:
        each: all scores of each fold, by fold.
        mean: their mean; `samples` are summed.
        std: their standard deviation (n - 1); empty for a single fold.
        intervals: 95 % interval of the mean of the main scores.
        unit: what was resampled: `subject` or `clip`, and how many of them there are.
        classes: the score of each class or quantity, see `Task.class_score`.
    """

    each: dict[str, dict[str, float]]
    mean: dict[str, float]
    std: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    unit: tuple[str, int]
    classes: tuple[ClassOverFolds, ...]


def read_folds(runs: Sequence[tuple[str, Path]]) -> list[FoldAnswers]:
    """The answers of the runs of folds.

    Args:
        runs: name of each fold and folder of its run.

    Raises:
        FileNotFoundError: a run has no predictions.
        ValueError: the runs do not answer the same question, or some clip twice.
    """
    folds = [
        FoldAnswers(name, read_predictions(run / "predictions.csv"), read_abouts(run / "predictions.csv"))
        for name, run in runs
    ]
    if len({(fold.predictions.task, fold.predictions.names) for fold in folds}) > 1:
        raise ValueError("the runs of the folds have other classes, so that they make no mean")
    keys = [key for fold in folds for key in fold.predictions.keys]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{len(keys) - len(set(keys))} clips are in the test part of two folds")
    return folds


def pool(folds: Sequence[FoldAnswers]) -> Predictions:
    """The answers of all folds as those of one test."""
    parts = [fold.predictions for fold in folds]
    keys = [key for part in parts for key in part.keys]
    outputs, targets = (np.concatenate([getattr(part, n) for part in parts]) for n in ("outputs", "targets"))
    whole = Predictions(keys, outputs, targets, parts[0].names, parts[0].task)
    return whole.take(np.argsort(np.array(keys, dtype=object)))


def fold_scores(folds: Sequence[FoldAnswers]) -> FoldScores:
    """The scores of several folds together."""
    task = folds[0].predictions.task
    each = {fold.fold: _without_outputs(scores(fold.predictions), fold.predictions) for fold in folds}
    mean = {name: float(value) for name, value in mean_over(list(each.values())).items()}
    mean["samples"] = sum(values["samples"] for values in each.values())
    several = len(folds) > 1
    std = {name: stdev(values[name] for values in each.values()) for name in mean} if several else {}
    std.pop("samples", None)
    units, what = units_of([fold.records for fold in folds])
    parts = [ScoredPart((fold.predictions,), own) for fold, own in zip(folds, units, strict=True)]
    (drawn,) = resample(parts)
    intervals = {name: interval(drawn[name]) for name in task.main_scores}
    return FoldScores(each, mean, std, intervals, (what, _count(folds, what)), _classes(folds))


def _without_outputs(values: dict[str, float], predictions: Predictions) -> dict[str, float]:
    """Returns scores without those of single outputs, such as `ccc_valence`."""
    names = {f"{score}_{name}" for score in predictions.task.output_scores for name in predictions.names}
    return {name: value for name, value in values.items() if name not in names}


def _count(folds: Sequence[FoldAnswers], what: str) -> int:
    """How many subjects there are, or clips."""
    field = "key" if what == "clip" else what
    return len({str(record[field]) for fold in folds for record in fold.records})


def _classes(folds: Sequence[FoldAnswers]) -> tuple[ClassOverFolds, ...]:
    """Scores of each class over folds; the mean is over those where it has samples."""
    first = folds[0].predictions
    found = [score_sums(fold.predictions).of_all for fold in folds]
    mean, rows = mean_over(found), []
    for k, name in enumerate(first.names):
        score = f"{first.task.class_score}_{name}"
        samples = sum(_samples(fold.predictions, k) for fold in folds)
        each = tuple(float(values[score]) for values in found)
        rows.append(ClassOverFolds(name, each, float(mean[score]), samples))
    return tuple(rows)


def _samples(predictions: Predictions, k: int) -> int:
    """How many samples there are of a class; all of them for a quantity."""
    return int(decisions(predictions)[0][:, k].sum()) if predictions.task.has_classes else len(predictions)
