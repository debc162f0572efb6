"""How good the answers are: recognition, several labels at once, continuous quantities.

Scores are shares in 0..1 of the whole set of samples; percent appears where they are printed. UAR is the mean
recall over the classes that have samples in this set: a class that is absent counts neither when it is never
predicted nor when it is, unlike torchmetrics' macro recall, which drops it in one case and not in the other.
Macro F1 averages over the same classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix

from maedfer.evaluation.predictions import Predictions

MAIN = {"classify": "uar", "multilabel": "macro_f1", "regress": "ccc"}
"""The score that selects an epoch, by task; of each, higher is better."""

GROUP_SCORES = {
    "classify": ("war", "uar"),
    "multilabel": ("micro_f1", "exact_match"),
    "regress": ("ccc", "mse"),
}
"""What is told of a group of samples, by task."""

MAX_GROUPS = 50
"""Values of a metadata column beyond which it does not form groups."""

BINS = 15
"""Bins of the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, 2017."""

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
"""How scores are called where people read them; others go by their own name."""

PLAIN = ("ccc", "pearson", "mse", "mae")
"""Scores that are no share of anything, and are not printed as percent."""


class ClassScores(NamedTuple):
    """Scores of one class; NaN where they are not defined (recall of a class without samples)."""

    name: str
    recall: float
    precision: float
    f1: float
    samples: int


def scores(predictions: Predictions) -> dict[str, float]:
    """All scores of a task, the main one first.

    * classify: `uar`, `war`, `weighted_f1`, `macro_f1`, `ece`; votes count as the class with most of them.
    * multilabel: `macro_f1`, `micro_f1`, `mean_average_precision`, `exact_match`, at one half; classes
      without a positive are left out of macro F1 and of the mean precision, and counted in `absent`.
    * regress: `ccc`, `pearson`, `mse`, `mae`: means over the quantities, and `ccc_<name>` and so on of each.

    `samples` ends each of them.

    Raises:
        ValueError: there are no samples, or none of several labels has a positive.
    """
    if not len(predictions):
        raise ValueError("no sample to score: the part that was asked for is empty")
    result = _scores(predictions)
    if np.isnan(result[MAIN[predictions.task]]):
        raise ValueError(f"none of {len(predictions)} samples has any label: check --data.columns")
    return result


def _scores(predictions: Predictions) -> dict[str, float]:
    """All scores of a task, NaN for those that are not defined."""
    compute = {"classify": _recognition, "multilabel": _several_labels, "regress": _quantities}
    values = compute[predictions.task](predictions)
    return {name: float(value) for name, value in values.items()} | {"samples": len(predictions)}


def _recognition(predictions: Predictions) -> dict[str, float]:
    rows = [row for row in per_class(predictions) if row.samples]
    samples = [row.samples for row in rows]
    return {
        "uar": np.mean([row.recall for row in rows]),
        "war": np.mean(predictions.truth == predictions.predicted),
        "weighted_f1": np.average([row.f1 for row in rows], weights=samples),
        "macro_f1": np.mean([row.f1 for row in rows]),
        "ece": calibration_error(predictions),
    }


def _several_labels(predictions: Predictions) -> dict[str, float]:
    truth, predicted = decisions(predictions)
    present = np.flatnonzero(truth.any(0))
    precisions = [average_precision_score(truth[:, k], predictions.outputs[:, k]) for k in present]
    classes = per_class(predictions)
    return {
        "macro_f1": np.mean([classes[k].f1 for k in present]) if len(present) else np.nan,
        "micro_f1": _against_the_rest(truth.reshape(-1, 1), predicted.reshape(-1, 1))[2][0],
        "mean_average_precision": np.mean(precisions) if precisions else np.nan,
        "exact_match": np.mean((truth == predicted).all(1)),
        "absent": len(predictions.names) - len(present),
    }


def _quantities(predictions: Predictions) -> dict[str, float]:
    pairs = list(zip(predictions.targets.T, predictions.outputs.T, strict=True))
    measures = {
        "ccc": [concordance(truth, answer) for truth, answer in pairs],
        "pearson": [correlation(truth, answer) for truth, answer in pairs],
        "mse": [np.mean((truth - answer) ** 2) for truth, answer in pairs],
        "mae": [np.mean(np.abs(truth - answer)) for truth, answer in pairs],
    }
    means = {measure: np.mean(values) for measure, values in measures.items()}
    each = {
        f"{measure}_{name}": value
        for measure, values in measures.items()
        for name, value in zip(predictions.names, values, strict=True)
    }
    return means | each


def correlation(truth: np.ndarray, answer: np.ndarray) -> float:
    """Pearson's correlation of two series (n,); 0 when one of them is constant, as it then says nothing."""
    if is_constant(truth) or is_constant(answer):
        return 0.0
    return float(np.corrcoef(truth, answer)[0, 1])


def concordance(truth: np.ndarray, answer: np.ndarray) -> float:
    """Lin's concordance correlation coefficient (1989, with 1/n moments) of two series (n,).

    0 when one of them is constant, even if both are equal: a constant answer earns nothing.
    """
    if is_constant(truth) or is_constant(answer):
        return 0.0
    covariance = np.cov(truth, answer, bias=True)
    return float(2 * covariance[0, 1] / (np.trace(covariance) + (truth.mean() - answer.mean()) ** 2))


def is_constant(values: np.ndarray) -> bool:
    """Whether a series (n,) varies by no more than rounding, so that its variance is noise."""
    return bool(np.allclose(values, values[0], rtol=1e-9, atol=1e-30))


def decisions(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """What is true and what was decided: two bool arrays (n, K) of a classification or of several labels."""
    if predictions.task == "multilabel":
        return predictions.targets >= 0.5, predictions.outputs >= 0.5
    classes = np.arange(len(predictions.names))
    return predictions.truth[:, None] == classes, predictions.predicted[:, None] == classes


def per_class(predictions: Predictions) -> list[ClassScores]:
    """Recall, precision and F1 of each class against the rest, in the order of the names; not for regress."""
    truth, predicted = decisions(predictions)
    columns = zip(predictions.names, *_against_the_rest(truth, predicted), truth.sum(0).tolist(), strict=True)
    return [ClassScores(*column) for column in columns]


def _against_the_rest(truth: np.ndarray, predicted: np.ndarray) -> list[list[float]]:
    """Recall, precision and F1 of K columns, from bool (n, K); NaN where they are 0/0.

    Sums instead of scikit-learn, which takes a single column of labels for two classes.
    """
    hits, positives, found = (truth & predicted).sum(0), truth.sum(0), predicted.sum(0)
    with np.errstate(invalid="ignore"):
        shares = hits / positives, hits / found, 2 * hits / (positives + found)
    return [share.tolist() for share in shares]


def confusion(predictions: Predictions) -> np.ndarray:
    """Counts (K, K) of a classification: a row per true class, a column per predicted one."""
    return confusion_matrix(
        predictions.truth, predictions.predicted, labels=np.arange(len(predictions.names))
    )


def reliability(predictions: Predictions, bins: int = BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and count (bins,) of a classification in equal bins (a, b] of confidence.

    Means of an empty bin are NaN.
    """
    confidence = predictions.outputs.max(1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    right = predictions.truth == predictions.predicted
    count, confident, correct = (
        np.bincount(place, weights=weights, minlength=bins) for weights in (None, confidence, right)
    )
    with np.errstate(invalid="ignore"):
        return confident / count, correct / count, count


def calibration_error(predictions: Predictions) -> float:
    """Expected calibration error: mean distance of confidence and accuracy of the bins, weighted by count."""
    confidence, accuracy, count = reliability(predictions)
    filled = count > 0
    return float(np.average(np.abs(confidence - accuracy)[filled], weights=count[filled]))


def scores_by(predictions: Predictions, groups: Sequence[str | None]) -> list[dict[str, Any]]:
    """A row per group, sorted by name: `name`, `samples` and the `GROUP_SCORES` of its samples alone.

    Args:
        predictions: what was answered.
        groups: group of each sample, in the order of the predictions (`groups_of`); None leaves it out.
    """
    if len(groups) != len(predictions):
        raise ValueError(f"{len(groups)} groups for {len(predictions)} samples")
    column = np.array(groups, dtype=object)
    rows = []
    for name in sorted({group for group in groups if group is not None}):
        part = predictions.take(np.flatnonzero(column == name))
        values = _scores(part)
        rows.append({"name": name, "samples": len(part), **{s: values[s] for s in GROUP_SCORES[part.task]}})
    return rows


def groups_of(
    predictions: Predictions, records: Sequence[Mapping[str, Any]], column: str
) -> list[str | None]:
    """A field of the records (`subject`, `fold`) or of their metadata, as text, for each of the predictions.

    None where it is missing or empty.
    """
    by_key = {record["key"]: record for record in records}
    found = []
    for key in predictions.keys:
        value = by_key[key].get(column, (by_key[key].get("metadata") or {}).get(column))
        found.append(None if value in (None, "") else str(value))
    return found


def grouped(
    predictions: Predictions, records: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """`scores_by` subject, and by fold and every metadata column that forms groups of these samples.

    Groups are two or more values, fewer than there are samples, and at most `MAX_GROUPS` except for subjects;
    columns that hold the labels are left out.
    """
    metadata = dict.fromkeys(name for record in records for name in record.get("metadata") or {})
    tables = {}
    for column in ("subject", "fold", *(name for name in metadata if name not in predictions.names)):
        groups = groups_of(predictions, records, column)
        values = {group for group in groups if group is not None}
        few = column == "subject" or len(values) <= MAX_GROUPS
        if few and 2 <= len(values) < len(predictions):
            tables[column] = scores_by(predictions, groups)
    return tables


def shown(name: str, value: float) -> str:
    """A score as people read it: percent with one decimal, or three decimals; a dash if undefined."""
    if np.isnan(value):
        return "–"
    if name in ("samples", "absent"):
        return f"{value:,.0f}"
    return f"{value:.3f}" if name.split("_")[0] in PLAIN else f"{100 * value:.1f}"


def describe(predictions: Predictions, synthetic: bool) -> str:
    """A small table for the screen: the scores, then those of each class or quantity."""
    values, names = scores(predictions), predictions.names
    if predictions.task == "regress":
        rows = [
            ["", *(TITLES[kind] for kind in PLAIN)],
            ["mean", *(shown(kind, values[kind]) for kind in PLAIN)],
        ]
        rows += [[name, *(shown(kind, values[f"{kind}_{name}"]) for kind in PLAIN)] for name in names]
        rows += [["samples", shown("samples", len(predictions))]]
    else:
        kinds = ClassScores._fields[1:]
        rows = [["", "percent"]] + [[TITLES[kind], shown(kind, value)] for kind, value in values.items()]
        rows += [["class", *(TITLES.get(kind, kind) for kind in kinds)]]
        rows += [[row.name, *map(shown, kinds, row[1:])] for row in per_class(predictions)]
    width = max(len(row[0]) for row in rows) + 2
    lines = [f"{first:<{width}}" + "".join(f"{cell:>10}" for cell in cells) for first, *cells in rows]
    return "\n".join(lines + ["(synthetic faces)"] * synthetic)
