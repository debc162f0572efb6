"""Compares two models on the same test clips: differences, bootstrap intervals, McNemar's test.

McNemar's test (1947) in its exact form asks whether the clips that only one model gets right are split
evenly between the two; it assumes that clips are independent. The bootstrap draws the same clips for both
models, whole subjects where they are known, within folds, and gives an interval of the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from maedfer.evaluation.bootstrap import ScoredPart, interval, mean_over, resample, units_of
from maedfer.evaluation.comparison import Comparison, Difference, McNemar
from maedfer.evaluation.predictions import Predictions, read_abouts, read_predictions
from maedfer.evaluation.scores import score_sums
from maedfer.runs.fold_folder import FoldFolder


@dataclass(frozen=True, eq=False)
class RunAnswers:
    """The answers of a run, an evaluation or the runs of folds, and what is known of its clips.

    Attributes:
        name: what it was called on the command line.
        predictions: the answers.
        records: records of the clips (`read_abouts`), in the same order.
        has_folds: whether its scores are means over the folds of the records.
    """

    name: str
    predictions: Predictions
    records: list[dict[str, str | None]]
    has_folds: bool


def read_run(path: str) -> RunAnswers:
    """The answers in a folder.

    Raises:
        FileNotFoundError: it has none.
    """
    table, folds = Path(path) / "predictions.csv", FoldFolder(Path(path))
    has_folds = folds.note.is_file()
    if has_folds and not table.is_file():
        again = f"maedfer finetune --run {path} --resume"
        raise FileNotFoundError(f"{path}: the runs of its folds are not done; continue with: {again}")
    return RunAnswers(path, read_predictions(table), read_abouts(table), has_folds)


def on_the_same_clips(first: RunAnswers, second: RunAnswers) -> RunAnswers:
    """The second run with its clips and classes in the order of the first's.

    Raises:
        ValueError: they are not about the same clips, labels or folds.
    """
    one, other = first.predictions, second.predictions
    if one.task != other.task or sorted(one.names) != sorted(other.names):
        raise ValueError(
            f"{first.name} answers with {one.task.name} of {', '.join(one.names)}, {second.name} with "
            f"{other.task.name} of {', '.join(other.names)}: only answers to one question can be compared"
        )
    keys, others = set(one.keys), set(other.keys)
    if keys != others:
        raise ValueError(
            f"{first.name} and {second.name} were tested on other clips: {len(keys - others)} of "
            f"{len(keys)} are only in the first, {len(others - keys)} of {len(others)} only in the second; "
            "evaluate both on the same shards and split"
        )
    place = {key: row for row, key in enumerate(other.keys)}
    rows = np.array([place[key] for key in one.keys])
    classes = [other.names.index(name) for name in one.names]
    outputs, targets = other.outputs[rows][:, classes], other.targets[rows][:, classes]
    unlike = int((~np.isclose(targets, one.targets, atol=1e-6)).any(1).sum())
    if unlike:
        raise ValueError(f"{first.name} and {second.name} have other labels for {unlike} of {len(one)} clips")
    records = [second.records[row] for row in rows]
    both = zip(first.records, records, strict=True)
    apart = sum(a["fold"] != b["fold"] for a, b in both) if first.has_folds and second.has_folds else 0
    if apart:
        raise ValueError(f"{first.name} and {second.name} have other folds for {apart} of {len(one)} clips")
    answers = Predictions(one.keys, outputs, targets, one.names, one.task)
    return RunAnswers(second.name, answers, records, second.has_folds)


def comparison(first: RunAnswers, second: RunAnswers) -> Comparison:
    """Scores of both, their differences with intervals, and McNemar's test."""
    one, other = first.predictions, second.predictions
    records = first.records if first.has_folds or not second.has_folds else second.records
    parts = rows_of_folds([record["fold"] for record in records], first.has_folds or second.has_folds)
    units, what = units_of([[first.records[row] for row in rows] for rows in parts.values()])
    pairs = [(one.take(rows), other.take(rows)) for rows in parts.values()]
    drawn = resample([ScoredPart(pair, own) for pair, own in zip(pairs, units, strict=True)])
    values = [mean_over([score_sums(pair[model]).of_all for pair in pairs]) for model in (0, 1)]
    task = one.task
    names = [*task.main_scores, *(f"{task.class_score}_{name}" for name in one.names)]
    differences = [
        Difference(n, float(values[0][n]), float(values[1][n]), interval(drawn[1][n] - drawn[0][n]))
        for n in names
    ]
    tested = mcnemar(one, other) if task.is_single_label else None
    field = "key" if what == "clip" else what
    count = len({record[field] for record in first.records})
    return Comparison(
        first=first.name,
        second=second.name,
        task=task,
        samples=len(one),
        folds=tuple(parts) if len(parts) > 1 else (),
        unit=what,
        units=count,
        differences=tuple(differences),
        mcnemar=tested,
    )


def rows_of_folds(folds: Sequence[str | None], has_folds: bool) -> dict[str, np.ndarray]:
    """Rows of the clips of each fold; of all clips, under an empty name, where scores are not by fold."""
    column = np.array([fold or "" for fold in folds]) if has_folds else np.full(len(folds), "")
    return {str(name): np.flatnonzero(column == name) for name in dict.fromkeys(column.tolist())}


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """The exact test: of the clips that one alone gets right, each falls to either with probability 1/2."""
    right, too = (answers.truth == answers.predicted for answers in (first, second))
    only_first, only_second = int((right & ~too).sum()), int((too & ~right).sum())
    apart = only_first + only_second
    p = float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
    return McNemar(int((right & too).sum()), only_first, only_second, int((~right & ~too).sum()), p)
