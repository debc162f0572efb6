"""`report.html` of a fine-tuning run or an evaluation: scores, classes, groups, published results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maedfer.evaluation.measures import ClassScores
from maedfer.evaluation.predictions import SampleInfo
from maedfer.evaluation.published import OwnRow, comparable_rows, comparison_rows, other_test
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import MAX_GROUPS, PLAIN, TITLES, GroupScores, shown
from maedfer.report.page import (
    paragraph,
    picture,
    section,
    table,
    verbatim,
    versions_table,
    write_page,
)
from maedfer.report.runs import _warning, pace
from maedfer.report.score_figures import CONFUSION, LEARNING, REGRESSION, RELIABILITY


def write_score_report(
    folder: Path,
    title: str,
    command: str,
    card: ScoreCard,
    records: Sequence[SampleInfo],
    synthetic: bool,
    seed: int | None,
    settings: str | None,
    corpus: str | None = None,
) -> None:
    """Write `report.html` of a fine-tuning run or an evaluation, with the pictures in its `figures`.

    Args:
        folder: the run, or where the evaluation writes.
        title: heading, such as the architecture, the shards and their part.
        command: the command line.
        card: predictions and their scores.
        records: records of the samples, which name their folds.
        synthetic: whether the faces were drawn.
        seed: seed of the run; None for an evaluation.
        settings: text of the configuration; None leaves it out.
        corpus: the corpus of the samples, of which published results are shown.
    """
    figures = folder / "figures"
    about = [_warning(synthetic), "" if seed is None else f"Seed {seed}."]
    sections = (
        paragraph(" ".join(filter(None, about))),
        paragraph(pace(folder)),
        verbatim(command),
        section("Scores", score_table(card)),
        section(f"Published on {corpus}", published_table(card, records, corpus)),
        section("Classes", class_table(card)),
        section("Confusion", picture(figures / CONFUSION)),
        section("Reliability", picture(figures / RELIABILITY)),
        section("Predicted and true", picture(figures / REGRESSION)),
        section("Training", picture(figures / LEARNING)),
        *(
            section(f"By {column}", group_table(rows, card.predictions.task.group_scores))
            for column, rows in card.groups.items()
        ),
        section("Settings", verbatim(settings) if settings else ""),
        section("Versions", versions_table()),
    )
    write_page(folder / "report.html", title, sections)


def score_table(card: ScoreCard) -> str:
    """All scores; a row per quantity for those that are continuous."""
    values, predictions = card.scores, card.predictions
    kinds = predictions.task.output_scores
    if not kinds:
        return table([(TITLES[name] + _unit(name), shown(name, value)) for name, value in values.items()])
    rows = [("mean", *(shown(kind, values[kind]) for kind in kinds))]
    rows += [(n, *(shown(kind, values[f"{kind}_{n}"]) for kind in kinds)) for n in predictions.names]
    samples = paragraph(f"{len(predictions):,} samples.")
    return samples + table(rows, ["quantity", *(TITLES[kind] for kind in kinds)])


def _unit(name: str) -> str:
    """What stands behind the name of a score that is printed as percent."""
    return "" if name in ("samples", "absent", *PLAIN) else " (%)"


def class_table(card: ScoreCard) -> str:
    """Recall, precision and F1 of every class, in percent; empty for continuous quantities."""
    fields = ClassScores._fields[1:]
    rows = [(row.name, *(shown(kind, getattr(row, kind)) for kind in fields)) for row in card.classes]
    return table(rows, ["class", *(TITLES.get(kind, kind) + _unit(kind) for kind in fields)])


def published_table(card: ScoreCard, records: Sequence[SampleInfo], corpus: str | None) -> str:
    """Published results on a corpus, and these below them; empty where there are none of these classes."""
    predictions = card.predictions
    if not predictions.task.is_single_label:
        return ""
    folds = sorted({record.fold for record in records if record.fold is not None})
    rows = comparable_rows(corpus, predictions.names, folds)
    if not rows:
        return ""
    unlike = other_test(corpus, {folds[0] if len(folds) == 1 else "": len(predictions)})
    values, recalls = card.scores, {row.name: row.recall for row in card.classes}
    header, *cells = comparison_rows(rows, OwnRow("this run", values["uar"], values["war"], recalls))
    return paragraph(unlike) + table(cells, header)


def group_table(rows: Sequence[GroupScores], kinds: Sequence[str]) -> str:
    """Rows of `scores_by`, at most `MAX_GROUPS` of them."""
    kept = sorted(rows, key=lambda row: -row.samples)[:MAX_GROUPS]
    note = f"The {len(kept)} groups with the most samples, of {len(rows):,}." if len(kept) < len(rows) else ""
    kept.sort(key=lambda row: row.name)
    cells = [(row.name, row.samples, *(shown(kind, row.scores[kind]) for kind in kinds)) for row in kept]
    return paragraph(note) + table(
        cells, ["group", "samples", *(TITLES[kind] + _unit(kind) for kind in kinds)]
    )
