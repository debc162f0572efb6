"""Scores of predictions by task, overall and by group, and how they are printed.

Scores are shares in 0..1 of the whole set of samples; they become percent where they are printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from maedfer.errors import UserError
from maedfer.evaluation.measures import COUNTS, MEASURES, PLAIN, TITLES, ScoreSums
from maedfer.evaluation.predictions import Predictions, SampleInfo

MAX_GROUPS = 50
"""The largest number of values of a metadata column that form groups."""


class GroupScores(NamedTuple):
    """The group scores of a task on the samples of one group alone."""

    name: str
    samples: int
    scores: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Returns one flat row."""
        return {"name": self.name, "samples": self.samples, **self.scores}


def scores(predictions: Predictions) -> dict[str, float]:
    """Returns all scores of a task, the main score first and `samples` last.

    * classify: `uar`, `war`, `weighted_f1`, `macro_f1`, `ece`; votes count as the class with most of them.
    * multilabel: `macro_f1`, `micro_f1`, `mean_average_precision`, `exact_match`, at one half; classes
      without a positive are left out of macro F1 and of the mean precision, and counted in `absent`.
    * regress: `ccc`, `pearson`, `mse`, `mae`: means over the quantities, and `ccc_<name>` and so on of each.

    Raises:
        UserError: there are no samples, or no sample has any label.
    """
    if not len(predictions):
        raise UserError(None, "there is no sample to score: the requested subset is empty")
    result = _scores(predictions)
    if np.isnan(result[predictions.task.main_score]):
        raise UserError("columns", f"none of {len(predictions)} samples has a label in these columns")
    return result


def _scores(predictions: Predictions) -> dict[str, float]:
    """Returns all scores of a task, NaN for those that are undefined."""
    return MEASURES[predictions.task.name].scores(predictions) | {"samples": len(predictions)}


def score_sums(predictions: Predictions) -> ScoreSums:
    """Returns the main scores of a task and those of each class or quantity, as functions of sums."""
    return MEASURES[predictions.task.name].sums(predictions)


def scores_by(predictions: Predictions, groups: Sequence[str | None]) -> list[GroupScores]:
    """Returns the scores of each group, sorted by name.

    Args:
        predictions: predictions of all samples.
        groups: group of each sample, in the order of the predictions (`groups_of`); None leaves it out.

    Raises:
        ValueError: there are more or fewer groups than samples.
    """
    if len(groups) != len(predictions):
        raise ValueError(f"{len(groups)} groups for {len(predictions)} samples")
    column = np.array(groups, dtype=object)
    rows = []
    for name in sorted({group for group in groups if group is not None}):
        members = predictions.take(np.flatnonzero(column == name))
        values = _scores(members)
        chosen = {score: values[score] for score in members.task.group_scores}
        rows.append(GroupScores(name, len(members), chosen))
    return rows


def groups_of(predictions: Predictions, samples: Sequence[SampleInfo], column: str) -> list[str | None]:
    """Returns the subject, the fold or a metadata value of each prediction's sample, as text.

    None where it is missing or empty.
    """
    by_key = {sample.key: sample for sample in samples}
    return [by_key[key].value(column) for key in predictions.keys]


def grouped(predictions: Predictions, samples: Sequence[SampleInfo]) -> dict[str, list[GroupScores]]:
    """Returns scores by subject, by fold, and by every metadata column that forms groups of these samples.

    A column forms groups if it has two or more values, fewer than there are samples, and at most
    `MAX_GROUPS` except for subjects. Columns that hold the labels are left out.
    """
    metadata = dict.fromkeys(name for sample in samples for name in sample.metadata)
    tables = {}
    for column in ("subject", "fold", *(name for name in metadata if name not in predictions.names)):
        groups = groups_of(predictions, samples, column)
        values = {group for group in groups if group is not None}
        few = column == "subject" or len(values) <= MAX_GROUPS
        if few and 2 <= len(values) < len(predictions):
            tables[column] = scores_by(predictions, groups)
    return tables


def scale_of(score: str) -> int:
    """Returns the factor that a score is printed with: 100 for shares, 1 for all others."""
    return 1 if score.split("_")[0] in (*COUNTS, *PLAIN) else 100


def shown(score: str, value: float, decimals: int = 1, sign: str = "") -> str:
    """Formats the value of a score: shares as percent, counts whole; a dash if it is undefined.

    Args:
        score: name of the score.
        value: its value.
        decimals: decimals of percent; papers print two. Other scores have three.
        sign: `+` prints the sign of a difference.
    """
    if np.isnan(value):
        return "–"
    if score in COUNTS and float(value).is_integer():
        return f"{value:,.0f}"
    return f"{100 * value:{sign}.{decimals}f}" if scale_of(score) == 100 else f"{value:{sign}.3f}"


def column_title(score: str, output: str = "") -> str:
    """Returns the title of a score, perhaps of one output, with the unit of those printed as percent."""
    title = TITLES.get(score, score) + f" of {output}" * bool(output)
    return f"{title} (%)" if scale_of(score) == 100 else title
