"""Bootstrap (Efron 1979) of scores over test clips, within folds and by subject.

The main scores of every task are functions of sums over clips (`score_sums`). A resampled score therefore
needs the sums of each subject and how often the subject was drawn, not the clips again.

Clips of one person are alike, so whole subjects are drawn where they are known. If a fold has few of them
(four in RAVDESS), the interval is too narrow, as that of any bootstrap of few units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maedfer.evaluation.measures import Values, mean_of_defined
from maedfer.evaluation.predictions import Predictions, SampleInfo
from maedfer.evaluation.scores import score_sums

DRAWS = 2000
LEVEL = 0.95

MAX_COUNTS = 4_000_000
"""The largest number of counts that are held at a time while drawing."""

Unit = Literal["subject", "clip"]


class ScoredSet(NamedTuple):
    """Test clips of one fold, or all test clips; the scores of several sets are averaged.

    Attributes:
        predictions: those of each of M models for the same n clips, in the same order.
        units: number of the subject (or of the clip itself) that each clip is drawn with, int (n,).
    """

    predictions: tuple[Predictions, ...]
    units: NDArray[np.int64]


def resample(sets: Sequence[ScoredSet], draws: int = DRAWS, seed: int = 0) -> list[Values]:
    """Returns resampled scores of each model, averaged over sets; all models share every draw.

    From each set, as many units as it has are drawn with replacement. A score that is undefined in a draw of
    a set (the recall of a class without samples) is left out of that mean.

    Args:
        sets: folds, or one set with all clips.
        draws: number of draws.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    by_set = [_resample_set(clips, draws, rng) for clips in sets]
    return [mean_over([models[model] for models in by_set]) for model in range(len(sets[0].predictions))]


def _resample_set(clips: ScoredSet, draws: int, rng: np.random.Generator) -> list[Values]:
    """Returns resampled scores of each model on one set."""
    sums = [score_sums(predictions) for predictions in clips.predictions]
    units = int(clips.units.max()) + 1
    by_unit = np.zeros((units, sum(model.terms.shape[1] for model in sums)))
    np.add.at(by_unit, clips.units, np.concatenate([model.terms for model in sums], axis=1))
    drawn = np.concatenate([counts @ by_unit for counts in _draw_counts(units, draws, rng)])
    cuts = np.cumsum([model.terms.shape[1] for model in sums])[:-1]
    return [model.scores(own) for model, own in zip(sums, np.split(drawn, cuts, axis=1), strict=True)]


def _draw_counts(units: int, draws: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yields how often each unit is drawn, (some draws, units) at a time."""
    step = max(1, MAX_COUNTS // units)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        chosen = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(chosen.ravel(), minlength=rows * units).reshape(rows, units)


def mean_over(sets: Sequence[Mapping[str, NDArray[np.float64] | float]]) -> Values:
    """Returns the mean of each score over sets, without sets where it is undefined."""
    return {name: mean_of_defined(np.array([values[name] for values in sets]), 0) for name in sets[0]}


def interval(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Returns the percentile interval of resampled values (draws,); NaN if no draw defines the score."""
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampling_units(sets: Sequence[Sequence[SampleInfo]]) -> tuple[list[NDArray[np.int64]], Unit]:
    """Returns the number (n,) of the unit that each clip of a set is drawn with, and the kind of unit.

    Units are subjects if every clip names one and every set has at least two, otherwise single clips.

    Args:
        sets: facts about the clips of each set, in the order of its predictions.
    """
    subjects = [[clip.subject for clip in clips] for clips in sets]
    named = all(subject not in (None, "") for people in subjects for subject in people)
    if not named or any(len(set(people)) < 2 for people in subjects):
        return [np.arange(len(clips)) for clips in sets], "clip"
    numbers = [np.unique(np.array(people, dtype=str), return_inverse=True)[1] for people in subjects]
    return numbers, "subject"
