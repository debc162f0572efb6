"""Scores of predictions: recognition of one class, of several labels, and of continuous quantities.

UAR and macro F1 are means over the classes that have samples in the test set. A class without samples counts
neither if it is predicted nor if it is not; torchmetrics' macro recall drops it only in the second case.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix

from maedfer.evaluation.predictions import Predictions

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS = 15
"""Bins of the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, 2017."""


class ClassScores(NamedTuple):
    """Scores of one class; NaN where they are undefined (recall of a class without samples)."""

    name: str
    recall: float
    precision: float
    f1: float
    samples: int


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
