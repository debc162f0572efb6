"""The scores of each task, from predictions and, for a bootstrap, from sums over clips.

A new task needs two functions here, its row in `MEASURES`, and `TITLES` of new scores.

UAR and macro F1 are means over the classes that have samples in the test set. A class without samples counts
neither if it is predicted nor if it is not; torchmetrics' macro recall drops it only in the second case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix

from maedfer.evaluation.predictions import Predictions
from maedfer.tasks import TaskName

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Values = dict[str, Floats]
"""Resampled values (draws,) of scores, by name."""

TITLES = {
    "uar": "UAR",
    "war": "WAR",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "f1": "F1",
    "ece": "calibration error",
    "mean_average_precision": "mAP",
    "exact_match": "all labels right",
    "absent": "classes without samples",
    "samples": "samples",
    "ccc": "CCC",
    "pearson": "Pearson",
    "mse": "MSE",
    "mae": "MAE",
}
"""Printed names of scores; a score that is not here is printed under its own name."""

PLAIN = ("ccc", "pearson", "mse", "mae")
"""Scores that are not shares and are not printed as percent."""

COUNTS = ("samples", "absent")
"""Scores that are counts."""

BINS = 15
"""Bins of the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, 2017."""


class ClassScores(NamedTuple):
    """Scores of one class; NaN where they are undefined (recall of a class without samples)."""

    name: str
    recall: float
    precision: float
    f1: float
    samples: int


class ScoreSums(NamedTuple):
    """Main scores, and the score of each output, as functions of sums over samples.

    The sums are hits and counts of each class, or moments of each quantity. The recall of a class without
    samples is NaN.

    Attributes:
        terms: (n, S), summed over samples.
        scores: gives scores (...,) of sums (..., S).
    """

    terms: Floats
    scores: Callable[[Floats], Values]

    @property
    def of_all(self) -> Values:
        """The scores of all samples together."""
        return self.scores(self.terms.sum(0))


def recognition(predictions: Predictions) -> dict[str, float]:
    """Returns the scores of a classification: UAR, WAR, F1 and the calibration error."""
    rows = [row for row in per_class(predictions) if row.samples]
    samples = [row.samples for row in rows]
    return {
        "uar": float(np.mean([row.recall for row in rows])),
        "war": float(np.mean(predictions.truth == predictions.predicted)),
        "weighted_f1": float(np.average([row.f1 for row in rows], weights=samples)),
        "macro_f1": float(np.mean([row.f1 for row in rows])),
        "ece": calibration_error(predictions),
    }


def several_labels(predictions: Predictions) -> dict[str, float]:
    """Returns the scores of several labels; NaN for macro F1 and mean precision without any positive."""
    truth, predicted = decisions(predictions)
    present = np.flatnonzero(truth.any(0))
    precisions = [average_precision_score(truth[:, k], predictions.outputs[:, k]) for k in present]
    classes = per_class(predictions)
    return {
        "macro_f1": float(np.mean([classes[k].f1 for k in present])) if len(present) else np.nan,
        "micro_f1": _one_against_rest(truth.reshape(-1, 1), predicted.reshape(-1, 1))[2][0],
        "mean_average_precision": float(np.mean(precisions)) if precisions else np.nan,
        "exact_match": float(np.mean((truth == predicted).all(1))),
        "absent": float(len(predictions.names) - len(present)),
    }


def quantities(predictions: Predictions) -> dict[str, float]:
    """Returns the means of each score over quantities, then `<score>_<name>` of each quantity."""
    pairs = list(zip(predictions.targets.T, predictions.outputs.T, strict=True))
    measures = {
        "ccc": [concordance(truth, answer) for truth, answer in pairs],
        "pearson": [correlation(truth, answer) for truth, answer in pairs],
        "mse": [float(np.mean((truth - answer) ** 2)) for truth, answer in pairs],
        "mae": [float(np.mean(np.abs(truth - answer))) for truth, answer in pairs],
    }
    means = {measure: float(np.mean(values)) for measure, values in measures.items()}
    return means | {
        f"{measure}_{name}": value
        for measure, values in measures.items()
        for name, value in zip(predictions.names, values, strict=True)
    }


def correlation(truth: Floats, answer: Floats) -> float:
    """Returns Pearson's correlation of two series (n,); 0 if one of them is constant."""
    if is_constant(truth) or is_constant(answer):
        return 0.0
    return float(np.corrcoef(truth, answer)[0, 1])


def concordance(truth: Floats, answer: Floats) -> float:
    """Returns Lin's concordance correlation coefficient (1989, with 1/n moments) of two series (n,).

    It is 0 if one of them is constant, even if both are equal: a constant answer earns nothing.
    """
    if is_constant(truth) or is_constant(answer):
        return 0.0
    covariance = np.cov(truth, answer, bias=True)
    return float(2 * covariance[0, 1] / (np.trace(covariance) + (truth.mean() - answer.mean()) ** 2))


def is_constant(values: Floats) -> bool:
    """Checks whether a series (n,) varies by no more than rounding, so that its variance is noise."""
    return bool(np.allclose(values, values[0], rtol=1e-9, atol=1e-30))


def decisions(predictions: Predictions) -> tuple[Bools, Bools]:
    """Returns the true and the predicted classes, two bool arrays (n, K), of a task with classes."""
    task = predictions.task
    return task.decide(predictions.targets), task.decide(predictions.outputs)


def per_class(predictions: Predictions) -> list[ClassScores]:
    """Returns recall, precision and F1 of each class against the rest, in the order of the names."""
    truth, predicted = decisions(predictions)
    columns = zip(predictions.names, *_one_against_rest(truth, predicted), truth.sum(0).tolist(), strict=True)
    return [ClassScores(*column) for column in columns]


def _one_against_rest(truth: Bools, predicted: Bools) -> list[list[float]]:
    """Returns recall, precision and F1 of K columns from bool (n, K); NaN where they are 0/0.

    scikit-learn is not used because it takes a single column of labels for two classes.
    """
    hits, positives, found = (truth & predicted).sum(0), truth.sum(0), predicted.sum(0)
    with np.errstate(invalid="ignore"):
        shares = hits / positives, hits / found, 2 * hits / (positives + found)
    return [share.tolist() for share in shares]


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """Returns counts (K, K) of a classification: a row per true class, a column per predicted class."""
    labels = np.arange(len(predictions.names))
    return np.asarray(confusion_matrix(predictions.truth, predictions.predicted, labels=labels))


def reliability(predictions: Predictions, bins: int = BINS) -> tuple[Floats, Floats, Floats]:
    """Returns mean confidence, accuracy and count (bins,) of a classification in equal bins (a, b].

    Means of an empty bin are NaN.
    """
    confidence = predictions.outputs.max(1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    right = predictions.truth == predictions.predicted
    count, confident, correct = (
        np.bincount(place, weights=weights, minlength=bins)
        for weights in (np.ones(len(predictions)), confidence, right)
    )
    with np.errstate(invalid="ignore"):
        return confident / count, correct / count, count.astype(np.float64)


def calibration_error(predictions: Predictions) -> float:
    """Returns the expected calibration error: |confidence - accuracy| of the bins, weighted by count."""
    confidence, accuracy, count = reliability(predictions)
    filled = count > 0
    return float(np.average(np.abs(confidence - accuracy)[filled], weights=count[filled]))


def recognition_sums(predictions: Predictions) -> ScoreSums:
    """Returns the sums behind UAR, WAR and the recall of each class."""

    def scores(hits: Floats, positives: Floats, found: Floats) -> tuple[Values, Floats]:
        recall = hits / positives
        return {"uar": mean_of_defined(recall, -1), "war": hits.sum(-1) / positives.sum(-1)}, recall

    return _sums_of_classes(predictions, scores)


def several_labels_sums(predictions: Predictions) -> ScoreSums:
    """Returns the sums behind macro F1, micro F1 and the F1 of each label."""

    def scores(hits: Floats, positives: Floats, found: Floats) -> tuple[Values, Floats]:
        f1 = 2 * hits / (positives + found)
        micro = 2 * hits.sum(-1) / (positives + found).sum(-1)
        return {"macro_f1": mean_of_defined(np.where(positives > 0, f1, np.nan), -1), "micro_f1": micro}, f1

    return _sums_of_classes(predictions, scores)


def _sums_of_classes(
    predictions: Predictions, scores: Callable[[Floats, Floats, Floats], tuple[Values, Floats]]
) -> ScoreSums:
    """Returns hits, positives and predicted positives of each class, and the scores made of their sums.

    Args:
        predictions: of a task with classes.
        scores: gives the main scores and the score (..., K) of each class.
    """
    truth, predicted = decisions(predictions)
    terms = np.concatenate([truth & predicted, truth, predicted], axis=1).astype(np.float64)
    names = [f"{predictions.task.class_score}_{name}" for name in predictions.names]

    def of_sums(sums: Floats) -> Values:
        with np.errstate(invalid="ignore"):
            main, of_class = scores(*np.split(sums, 3, axis=-1))
        return main | _columns(names, of_class)

    return ScoreSums(terms, of_sums)


def quantities_sums(predictions: Predictions) -> ScoreSums:
    """Returns the moments about fixed centres behind Lin's concordance of each quantity and their mean."""
    centres = predictions.targets.mean(0), predictions.outputs.mean(0)
    truth, answer = predictions.targets - centres[0], predictions.outputs - centres[1]
    one = np.ones((len(predictions), 1))
    terms = np.concatenate([one, truth, answer, truth**2, answer**2, truth * answer], axis=1)
    # A variance below the rounding of the values is that of a constant, as in `is_constant`.
    least = [1e-18 * np.maximum((v**2).max(0), 1e-42) for v in (predictions.targets, predictions.outputs)]

    def concordances(sums: Floats) -> Values:
        x, y, xx, yy, xy = np.split(sums[..., 1:] / sums[..., :1], 5, axis=-1)
        spread, found = xx - x**2, yy - y**2
        apart = x + centres[0] - y - centres[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ccc = 2 * (xy - x * y) / (spread + found + apart**2)
        ccc = np.where((spread <= least[0]) | (found <= least[1]), 0.0, ccc)
        return {"ccc": ccc.mean(-1)} | _columns([f"ccc_{name}" for name in predictions.names], ccc)

    return ScoreSums(terms, concordances)


def _columns(names: Sequence[str], values: Floats) -> Values:
    return {name: values[..., k] for k, name in enumerate(names)}


def mean_of_defined(values: Floats, axis: int) -> Floats:
    """Returns the mean without NaN; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(defined, values, 0.0).sum(axis) / defined.sum(axis)
    return mean


class Measures(NamedTuple):
    """Functions that score a task: `scores` in full, and `sums` for a bootstrap of its main scores."""

    scores: Callable[[Predictions], dict[str, float]]
    sums: Callable[[Predictions], ScoreSums]


MEASURES: dict[TaskName, Measures] = {
    "classify": Measures(recognition, recognition_sums),
    "multilabel": Measures(several_labels, several_labels_sums),
    "regress": Measures(quantities, quantities_sums),
}
