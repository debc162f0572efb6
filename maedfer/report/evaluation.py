"""Writes an evaluation: predictions, scores, figures, and `report.html` with published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maedfer.evaluation.predictions import Predictions, write_predictions
from maedfer.evaluation.published import OwnRow, rows_beside, side_by_side, unlike_test
from maedfer.evaluation.scores import (
    GROUP_SCORES,
    MAX_GROUPS,
    PLAIN,
    TITLES,
    ClassScores,
    grouped,
    per_class,
    scores,
    shown,
)
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.page import Table, write_page
from maedfer.report.runs import describe_pace
from maedfer.report.score_figures import LEARNING, draw_learning, draw_scores, score_pictures


@dataclass(frozen=True, kw_only=True)
class EvaluationInfo:
    """Describes where the predictions of an evaluation come from.

    Attributes:
        title: heading of the page, such as the architecture, the shards and their split.
        command: the command line.
        synthetic: whether the faces were drawn.
        corpus: the corpus of the samples, whose published results are shown.
        seed: seed of the run; None for an evaluation of a finished model.
        settings: text of the run's `config.yaml`.
    """

    title: str
    command: str
    synthetic: bool
    corpus: str | None = None
    seed: int | None = None
    settings: str | None = None


def write_evaluation(
    folder: Path, info: EvaluationInfo, predictions: Predictions, records: Sequence[Mapping[str, Any]]
) -> None:
    """Writes `predictions.csv`, `scores.json`, figures and `report.html` of an evaluation.

    Args:
        folder: the run, whose curves are drawn too, or any other folder.
        info: the origin of the predictions.
        predictions: predictions of all samples.
        records: JSON records of the samples, in any order.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", predictions, records)
    content = {
        "scores": scores(predictions),
        "synthetic": info.synthetic,
        "by": grouped(predictions, records),
    }
    # JSON has no NaN, which is the F1 of a subject without a known positive.
    write_atomically(folder / "scores.json", dump_json(defined(content), indent=1))
    title = f"{info.title} (synthetic faces)" if info.synthetic else info.title
    draw_scores(figures, predictions, title)
    draw_learning(figures / LEARNING, folder / "metrics.csv", folder / "validation.csv", title)
    write_evaluation_page(folder, info, predictions, records)


def write_evaluation_page(
    folder: Path, info: EvaluationInfo, predictions: Predictions, records: Sequence[Mapping[str, Any]]
) -> None:
    """Writes `report.html` with the pictures that lie in the `figures` of a folder."""
    kinds = GROUP_SCORES[predictions.task]
    write_page(
        folder / "report.html",
        "evaluation.html",
        title=info.title,
        info=info,
        pace=describe_pace(folder),
        scores=score_table(predictions),
        published=published_table(predictions, records, info.corpus),
        classes=class_table(predictions),
        pictures=score_pictures(folder / "figures"),
        by={name: group_table(rows, kinds) for name, rows in grouped(predictions, records).items()},
        settings=info.settings,
    )


def score_table(predictions: Predictions) -> Table:
    """Returns all scores; a row per quantity for quantities."""
    values = scores(predictions)
    if predictions.task != "regress":
        return Table([(column_title(name), shown(name, value)) for name, value in values.items()])
    rows = [("mean", *(shown(kind, values[kind]) for kind in PLAIN))]
    rows += [(n, *(shown(kind, values[f"{kind}_{n}"]) for kind in PLAIN)) for n in predictions.names]
    header = ["quantity", *map(column_title, PLAIN)]
    return Table(rows, header, f"{len(predictions):,} samples.")


def column_title(score: str) -> str:
    """Returns the title of a score, with the unit of those that are printed as percent."""
    return TITLES.get(score, score) + ("" if score in ("samples", "absent", *PLAIN) else " (%)")


def class_table(predictions: Predictions) -> Table:
    """Returns recall, precision and F1 of every class, in percent; no rows for quantities."""
    kinds = ClassScores._fields[1:]
    classes = [] if predictions.task == "regress" else per_class(predictions)
    rows = [(row.name, *(shown(kind, getattr(row, kind)) for kind in kinds)) for row in classes]
    return Table(rows, ["class", *map(column_title, kinds)])


def published_table(
    predictions: Predictions, records: Sequence[Mapping[str, Any]], corpus: str | None
) -> Table:
    """Returns the published results on a corpus, and these as the last row.

    There are no rows if nothing is published on the corpus or for other classes only.
    """
    folds = sorted({str(record["fold"]) for record in records if record.get("fold") is not None})
    rows = rows_beside(corpus, predictions.names, folds) if predictions.task == "classify" else []
    if corpus is None or not rows:
        return Table([])
    values, recalls = scores(predictions), {row.name: row.recall for row in per_class(predictions)}
    header, *cells = side_by_side(rows, OwnRow("this run", values["uar"], values["war"], recalls))
    tested = {folds[0] if len(folds) == 1 else "": len(predictions)}
    return Table(cells, header, unlike_test(corpus, tested))


def group_table(groups: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> Table:
    """Returns the scores of groups of samples, of the `MAX_GROUPS` largest ones.

    Args:
        groups: rows of `scores_by`.
        kinds: names of their scores.
    """
    kept = sorted(groups, key=lambda row: -row["samples"])[:MAX_GROUPS]
    note = f"The {MAX_GROUPS} groups with the most samples, of {len(groups):,}."
    rows = [
        (row["name"], f"{row['samples']}", *(shown(kind, row[kind]) for kind in kinds))
        for row in sorted(kept, key=lambda row: row["name"])
    ]
    header = ["group", "samples", *map(column_title, kinds)]
    return Table(rows, header, note if len(kept) < len(groups) else "")
