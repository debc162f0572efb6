"""How far scores would move with other test clips: the bootstrap (Efron 1979), within folds and by subject.

The main scores of every task are functions of sums over clips (hits and counts of each class, moments of
each quantity), so a resampled score needs the sums of each subject and how often the subject was drawn, not
the clips again.

Clips of one person are alike, so whole subjects are drawn where they are known. With few of them in a fold
(four in RAVDESS) the interval is too narrow, as every bootstrap of few units is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from maedfer.evaluation.predictions import Predictions
from maedfer.evaluation.scores import decisions

DRAWS = 2000
LEVEL = 0.95

MAIN_SCORES = {"classify": ("uar", "war"), "multilabel": ("macro_f1", "micro_f1"), "regress": ("ccc",)}
"""Scores that have an interval, by task."""

CLASS_SCORE = {"classify": "recall", "multilabel": "f1", "regress": "ccc"}
"""What is told of a single class or quantity, by task; its name is `recall_<class>` and so on."""

Values = dict[str, np.ndarray]
"""Resampled values (draws,) of scores, by name."""

MOST_COUNTS = 4_000_000
"""Numbers that are held at a time while drawing."""


class ScoreSums(NamedTuple):
    """Scores as functions of sums: `terms` (n, S) of the samples, and `scores` of sums (..., S)."""

    terms: np.ndarray
    scores: Callable[[np.ndarray], Values]

    @property
    def of_all(self) -> Values:
        """The scores of all samples together."""
        return self.scores(self.terms.sum(0))


class ScoredPart(NamedTuple):
    """Test clips whose scores make a mean with those of others: a fold, or all clips.

    Attributes:
        answers: what each of M models said of the same n clips, in the same order.
        units: number of the subject (or of the clip itself) that each clip is drawn with, int (n,).
    """

    answers: tuple[Predictions, ...]
    units: np.ndarray


def score_sums(predictions: Predictions) -> ScoreSums:
    """The main scores of a task and those of each class or quantity, as functions of sums.

    They are those of `scores.scores` and `scores.per_class`; a class without samples has no recall (NaN) and
    does not count in UAR or macro F1.
    """
    if predictions.task == "regress":
        return _moments(predictions)
    truth, predicted = decisions(predictions)
    terms = np.concatenate([truth & predicted, truth, predicted], axis=1).astype(np.float64)
    of_task = _recognition if predictions.task == "classify" else _several_labels
    return ScoreSums(terms, lambda sums: of_task(*np.split(sums, 3, axis=-1), predictions.names))


def _recognition(hits: np.ndarray, positives: np.ndarray, found: np.ndarray, names: Sequence[str]) -> Values:
    with np.errstate(invalid="ignore"):
        recall = hits / positives
        values = {"uar": _mean_of_defined(recall, -1), "war": hits.sum(-1) / positives.sum(-1)}
    return values | {f"recall_{name}": recall[..., k] for k, name in enumerate(names)}


def _several_labels(
    hits: np.ndarray, positives: np.ndarray, found: np.ndarray, names: Sequence[str]
) -> Values:
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / (positives + found)
        micro = 2 * hits.sum(-1) / (positives + found).sum(-1)
    values = {"macro_f1": _mean_of_defined(np.where(positives > 0, f1, np.nan), -1), "micro_f1": micro}
    return values | {f"f1_{name}": f1[..., k] for k, name in enumerate(names)}


def _moments(predictions: Predictions) -> ScoreSums:
    """Lin's concordance of each quantity and their mean, from moments about fixed centres."""
    centres = predictions.targets.mean(0), predictions.outputs.mean(0)
    truth, answer = predictions.targets - centres[0], predictions.outputs - centres[1]
    one = np.ones((len(predictions), 1))
    terms = np.concatenate([one, truth, answer, truth**2, answer**2, truth * answer], axis=1)
    # A variance below the rounding of the values is that of a constant, as in `scores.is_constant`.
    least = [1e-18 * np.maximum((v**2).max(0), 1e-42) for v in (predictions.targets, predictions.outputs)]

    def concordances(sums: np.ndarray) -> Values:
        x, y, xx, yy, xy = np.split(sums[..., 1:] / sums[..., :1], 5, axis=-1)
        spread, found = xx - x**2, yy - y**2
        apart = x + centres[0] - y - centres[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ccc = 2 * (xy - x * y) / (spread + found + apart**2)
        ccc = np.where((spread <= least[0]) | (found <= least[1]), 0.0, ccc)
        return {"ccc": ccc.mean(-1)} | {f"ccc_{n}": ccc[..., k] for k, n in enumerate(predictions.names)}

    return ScoreSums(terms, concordances)


def resample(parts: Sequence[ScoredPart], draws: int = DRAWS, seed: int = 0) -> list[Values]:
    """Resampled scores of each model, the mean over parts; the models share every draw.

    In each part as many units as it has are drawn with replacement. A score that a drawn part does not
    define (the recall of a class without samples) is left out of that mean.

    Args:
        parts: folds, or one part with all clips.
        draws: how often.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    each = [_resampled_part(part, draws, rng) for part in parts]
    return [mean_over([part[model] for part in each]) for model in range(len(parts[0].answers))]


def _resampled_part(part: ScoredPart, draws: int, rng: np.random.Generator) -> list[Values]:
    sums = [score_sums(answers) for answers in part.answers]
    units = int(part.units.max()) + 1
    by_unit = np.zeros((units, sum(each.terms.shape[1] for each in sums)))
    np.add.at(by_unit, part.units, np.concatenate([each.terms for each in sums], axis=1))
    drawn = np.concatenate([counts @ by_unit for counts in _counts(units, draws, rng)])
    cuts = np.cumsum([each.terms.shape[1] for each in sums])[:-1]
    return [each.scores(own) for each, own in zip(sums, np.split(drawn, cuts, axis=1), strict=True)]


def _counts(units: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each unit is drawn, (some draws, units) at a time."""
    step = max(1, MOST_COUNTS // units)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        chosen = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(chosen.ravel(), minlength=rows * units).reshape(rows, units)


def mean_over(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each score over parts, of those where it is defined."""
    return {name: _mean_of_defined(np.array([part[name] for part in parts]), 0) for name in parts[0]}


def _mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean without NaN; NaN where nothing else is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0.0).sum(axis) / defined.sum(axis)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of resampled values (draws,); NaN where no draw defines the score."""
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def units_of(
    parts: Sequence[Sequence[Mapping[str, Any]]],
) -> tuple[list[np.ndarray], Literal["subject", "clip"]]:
    """What the clips of each part are drawn with, as numbers (n,), and what that is.

    Subjects where every clip names one and no part has a single one; else each clip by itself.

    Args:
        parts: records of the clips of each part, in the order of its predictions.
    """
    subjects = [[record.get("subject") for record in records] for records in parts]
    named = all(subject not in (None, "") for part in subjects for subject in part)
    if not named or any(len(set(part)) < 2 for part in subjects):
        return [np.arange(len(records)) for records in parts], "clip"
    return [np.unique(np.array(part, dtype=str), return_inverse=True)[1] for part in subjects], "subject"
