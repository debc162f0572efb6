"""Main scores as functions of sums over clips, so that a bootstrap resamples sums instead of clips.

The sums are hits and counts of each class, or moments of each quantity. The scores equal those of
`measures`; a class without samples has no recall (NaN) and is left out of UAR and macro F1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from maedfer.evaluation.measures import Floats, decisions
from maedfer.evaluation.predictions import Predictions

Values = dict[str, Floats]
"""Resampled values (draws,) of scores, by name."""


class ScoreSums(NamedTuple):
    """Scores as functions of sums: `terms` (n, S) of the samples, and `scores` of sums (..., S)."""

    terms: Floats
    scores: Callable[[Floats], Values]

    @property
    def of_all(self) -> Values:
        """The scores of all samples together."""
        return self.scores(self.terms.sum(0))


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
    # A variance below the rounding of the values is that of a constant, as in `measures.is_constant`.
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
