"""Scores of a cross-validation: mean and spread over test folds, an interval, and the pooled predictions.

The published protocol scores each fold and averages. The standard deviation is that of the folds (n - 1),
which also differ in their training clips; the interval is that of the mean for other test clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

import numpy as np

from maedfer.errors import UserError
from maedfer.evaluation.bootstrap import ScoredSet, Unit, interval, mean_over, resample, resampling_units
from maedfer.evaluation.measures import decisions
from maedfer.evaluation.predictions import Predictions, RunPredictions
from maedfer.evaluation.scores import score_sums, scores


@dataclass(frozen=True)
class ClassFoldScores:
    """The score of one class or quantity in each fold, NaN where it has no samples, and their mean.

    Attributes:
        name: the class or quantity.
        folds: its score in each fold.
        mean: mean over the folds in which it has samples.
        samples: number of its samples in all folds.
    """

    name: str
    folds: tuple[float, ...]
    mean: float
    samples: int


@dataclass(frozen=True, eq=False)
class FoldScores:
    """The scores of several folds.

    Attributes:
        folds: all scores of each fold, by fold.
        mean: their mean; `samples` are summed.
        std: their standard deviation (n - 1); empty for a single fold.
        intervals: 95 % interval of the mean of the main scores.
        unit: kind of unit that was resampled.
        units: number of subjects or clips.
        classes: the score of each class or quantity, see `Task.class_score`.
    """

    folds: dict[str, dict[str, float]]
    mean: dict[str, float]
    std: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    unit: Unit
    units: int
    classes: tuple[ClassFoldScores, ...]


def read_folds(runs: Sequence[tuple[str, Path]]) -> list[RunPredictions]:
    """Reads the predictions of the runs of folds.

    Args:
        runs: name of each fold and folder of its run.

    Raises:
        FileNotFoundError: a run has no predictions.
        UserError: the runs have different tasks or classes, or a clip is in two folds.
    """
    folds = [RunPredictions.read(fold, run) for fold, run in runs]
    if len({(fold.predictions.task, fold.predictions.names) for fold in folds}) > 1:
        raise UserError(None, "the runs of the folds have different classes: their scores cannot be averaged")
    keys = [key for fold in folds for key in fold.predictions.keys]
    if len(set(keys)) < len(keys):
        raise UserError(None, f"{len(keys) - len(set(keys))} clips are tested in two folds")
    return folds


def pool_folds(folds: Sequence[RunPredictions]) -> Predictions:
    """Returns the predictions of all folds together, sorted by key."""
    parts = [fold.predictions for fold in folds]
    keys = [key for part in parts for key in part.keys]
    outputs = np.concatenate([part.outputs for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    whole = Predictions(keys, outputs, targets, parts[0].names, parts[0].task)
    return whole.take(np.argsort(np.array(keys, dtype=object)))


def score_folds(folds: Sequence[RunPredictions]) -> FoldScores:
    """Returns the scores of several folds and their means."""
    task = folds[0].predictions.task
    by_fold = {fold.name: _mean_scores(fold.predictions) for fold in folds}
    mean = {name: float(value) for name, value in mean_over(list(by_fold.values())).items()}
    mean["samples"] = sum(values["samples"] for values in by_fold.values())
    std = {}
    if len(folds) > 1:
        std = {n: stdev(values[n] for values in by_fold.values()) for n in mean if n != "samples"}
    units, unit = resampling_units([fold.samples for fold in folds])
    sets = [ScoredSet((fold.predictions,), own) for fold, own in zip(folds, units, strict=True)]
    (drawn,) = resample(sets)
    samples = [sample for fold in folds for sample in fold.samples]
    return FoldScores(
        folds=by_fold,
        mean=mean,
        std=std,
        intervals={name: interval(drawn[name]) for name in task.main_scores},
        unit=unit,
        units=len({sample.key if unit == "clip" else sample.subject for sample in samples}),
        classes=_score_classes(folds),
    )


def _mean_scores(predictions: Predictions) -> dict[str, float]:
    """Returns the scores of a fold without those of single outputs, such as `ccc_valence`."""
    single = {f"{score}_{name}" for score in predictions.task.output_scores for name in predictions.names}
    return {name: value for name, value in scores(predictions).items() if name not in single}


def _score_classes(folds: Sequence[RunPredictions]) -> tuple[ClassFoldScores, ...]:
    """Returns the score of each class in every fold; the mean is over folds where it has samples."""
    first = folds[0].predictions
    values = [score_sums(fold.predictions).of_all for fold in folds]
    mean, kind = mean_over(values), first.task.class_score
    return tuple(
        ClassFoldScores(
            name,
            folds=tuple(float(fold[f"{kind}_{name}"]) for fold in values),
            mean=float(mean[f"{kind}_{name}"]),
            samples=sum(_count_samples(fold.predictions, k) for fold in folds),
        )
        for k, name in enumerate(first.names)
    )


def _count_samples(predictions: Predictions, k: int) -> int:
    """Counts the samples of a class; a quantity has all samples."""
    return int(decisions(predictions)[0][:, k].sum()) if predictions.task.has_classes else len(predictions)
