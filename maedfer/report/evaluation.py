"""Writes an evaluation: predictions, scores, figures, and `report.html` with published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maedfer.evaluation.measures import ClassScores
from maedfer.evaluation.predictions import write_predictions
from maedfer.evaluation.published import OwnRow, comparable_rows, comparison_rows, other_test
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import MAX_GROUPS, GroupScores, column_title, shown
from maedfer.files import defined, dump_json, make_folder, write_atomically
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


def write_evaluation(folder: Path, info: EvaluationInfo, card: ScoreCard) -> None:
    """Writes `predictions.csv`, `scores.json`, figures and `report.html` of an evaluation.

    Args:
        folder: the run, whose curves are drawn too, or any other folder.
        info: the origin of the predictions.
        card: predictions and their scores.
    """
    figures = folder / "figures"
    make_folder(figures)
    write_predictions(folder / "predictions.csv", card.predictions, card.samples)
    by = {column: [row.as_json() for row in rows] for column, rows in card.groups.items()}
    content = {"scores": card.scores, "synthetic": info.synthetic, "by": by}
    # JSON has no NaN, which is the F1 of a subject without a known positive.
    write_atomically(folder / "scores.json", dump_json(defined(content), indent=1))
    title = f"{info.title} (synthetic faces)" if info.synthetic else info.title
    draw_scores(figures, card, title)
    draw_learning(figures / LEARNING, folder / "metrics.csv", folder / "validation.csv", title)
    write_evaluation_page(folder, info, card)


def write_evaluation_page(folder: Path, info: EvaluationInfo, card: ScoreCard) -> None:
    """Writes `report.html` with the pictures that lie in the `figures` of a folder."""
    kinds = card.predictions.task.group_scores
    write_page(
        folder / "report.html",
        "evaluation.html",
        title=info.title,
        info=info,
        pace=describe_pace(folder),
        scores=score_table(card),
        published=published_table(card, info.corpus),
        classes=class_table(card),
        pictures=score_pictures(folder / "figures"),
        by={column: group_table(rows, kinds) for column, rows in card.groups.items()},
        settings=info.settings,
    )


def score_table(card: ScoreCard) -> Table:
    """Returns all scores; a row per output if the task scores each of them."""
    values, kinds = card.scores, card.predictions.task.output_scores
    if not kinds:
        return Table([(column_title(name), shown(name, value)) for name, value in values.items()])
    rows = [("mean", *(shown(kind, values[kind]) for kind in kinds))]
    rows += [(n, *(shown(kind, values[f"{kind}_{n}"]) for kind in kinds)) for n in card.predictions.names]
    header = ["quantity", *map(column_title, kinds)]
    return Table(rows, header, f"{len(card.predictions):,} samples.")


def class_table(card: ScoreCard) -> Table:
    """Returns recall, precision and F1 of every class, in percent; no rows for a task without classes."""
    kinds = ClassScores._fields[1:]
    rows = [(row.name, *(shown(kind, getattr(row, kind)) for kind in kinds)) for row in card.classes]
    return Table(rows, ["class", *map(column_title, kinds)])


def published_table(card: ScoreCard, corpus: str | None) -> Table:
    """Returns the published results on a corpus, and these as the last row.

    There are no rows if nothing is published on the corpus or for other classes only.
    """
    predictions = card.predictions
    folds = sorted({sample.fold for sample in card.samples if sample.fold is not None})
    rows = comparable_rows(corpus, predictions.names, folds) if predictions.task.is_single_label else []
    if corpus is None or not rows:
        return Table([])
    recalls = {row.name: row.recall for row in card.classes}
    own = OwnRow("this run", card.scores["uar"], card.scores["war"], recalls)
    header, *cells = comparison_rows(rows, own)
    tested = {folds[0] if len(folds) == 1 else "": len(predictions)}
    return Table(cells, header, other_test(corpus, tested))


def group_table(groups: Sequence[GroupScores], kinds: Sequence[str]) -> Table:
    """Returns the scores of the `MAX_GROUPS` largest groups of samples.

    Args:
        groups: scores of all groups.
        kinds: names of their scores.
    """
    kept = sorted(groups, key=lambda row: -row.samples)[:MAX_GROUPS]
    note = f"The {MAX_GROUPS} groups with the most samples, of {len(groups):,}."
    rows = [
        (row.name, f"{row.samples}", *(shown(kind, row.scores[kind]) for kind in kinds))
        for row in sorted(kept, key=lambda row: row.name)
    ]
    header = ["group", "samples", *map(column_title, kinds)]
    return Table(rows, header, note if len(kept) < len(groups) else "")
