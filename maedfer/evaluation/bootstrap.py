"""How far scores would move with other test clips: the bootstrap (Efron 1979), within folds and by subject.

The main scores of every task are functions of sums over clips (`score_sums`), so a resampled score needs the
sums of each subject and how often the subject was drawn, not the clips again.

Clips of one person are alike, so whole subjects are drawn where they are known. With few of them in a fold
(four in RAVDESS) the interval is too narrow, as every bootstrap of few units is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from maedfer.evaluation.predictions import Predictions
from maedfer.evaluation.score_sums import Values, mean_of_defined
from maedfer.evaluation.scores import score_sums

DRAWS = 2000
LEVEL = 0.95

MOST_COUNTS = 4_000_000
"""Numbers that are held at a time while drawing."""


class ScoredPart(NamedTuple):
    """Test clips whose scores make a mean with those of others: a fold, or all clips.

    Attributes:
        answers: what each of M models said of the same n clips, in the same order.
        units: number of the subject (or of the clip itself) that each clip is drawn with, int (n,).
    """

    answers: tuple[Predictions, ...]
    units: np.ndarray


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
    return {name: mean_of_defined(np.array([part[name] for part in parts]), 0) for name in parts[0]}


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
