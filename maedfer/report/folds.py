"""Writes the results of cross-validation: tables, `scores.json`, pooled predictions, and `report.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

from maedfer.evaluation.bootstrap import DRAWS, LEVEL
from maedfer.evaluation.fold_scores import FoldScores, pool_folds, read_folds, score_folds
from maedfer.evaluation.predictions import write_predictions
from maedfer.evaluation.published import (
    FACTS,
    OwnRow,
    PublishedRow,
    comparable_rows,
    comparison_rows,
    corpus_of,
    other_test,
)
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import column_title, shown
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.evaluation import group_table
from maedfer.report.page import SYNTHETIC, Table, versions, write_page
from maedfer.report.score_figures import draw_scores, score_pictures
from maedfer.report.spread_figures import FOLDS, draw_folds
from maedfer.runs.fold_folder import FoldFolder
from maedfer.text import aligned


@dataclass(frozen=True, kw_only=True)
class CrossValidationInfo:
    """Describes the runs of a cross-validation.

    Attributes:
        folds: the folds that were tested on.
        all_folds: the folds that the shards have.
        shards: name of the shards.
        synthetic: whether the faces were drawn.
        seed: seed of all runs.
        commands: the command lines.
        settings: text of the configuration.
    """

    folds: Sequence[str]
    all_folds: Sequence[str]
    shards: str
    synthetic: bool
    seed: int
    commands: Sequence[str]
    settings: str


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossValidation:
    """Holds the results of all folds.

    Attributes:
        info: description of the runs.
        scores: scores of each fold, their means and intervals.
        pooled: predictions of all folds and their scores.
        corpus: the corpus of the shards, if they name one.
        published: results published on it.
        comparison: header, cells of `published`, and the means over folds below; empty without them.
        notes: sentences that limit what the numbers mean.
    """

    info: CrossValidationInfo
    scores: FoldScores
    pooled: ScoreCard
    corpus: str | None
    published: Sequence[PublishedRow]
    comparison: Sequence[Sequence[str]]
    notes: Sequence[str]


def write_fold_results(folder: FoldFolder, info: CrossValidationInfo, made_by: Mapping[str, Any]) -> str:
    """Writes the results of all folds beside their runs; returns the tables for the screen.

    Writes `scores.json`, `predictions.csv` with the clips of all folds, figures and `report.html`.

    Args:
        folder: folder of the runs, all of which have ended.
        info: description of the runs.
        made_by: `made_by` of the shards' index, which names their corpus.

    Raises:
        FileNotFoundError: a run has no predictions.
        UserError: the runs do not fit together.
    """
    results = read_results(folder, info, made_by)
    write_predictions(folder.path / "predictions.csv", results.pooled.predictions, results.pooled.samples)
    write_atomically(folder.path / "scores.json", dump_json(defined(scores_json(results)), indent=1))
    write_fold_page(folder.path, results)
    lines = [fold_table(results.scores).as_text(), *results.notes]
    if results.published:
        header = results.comparison[0]
        kept = [k for k, name in enumerate(header) if name in ("", *FACTS)]  # recalls and sources are wide
        lines.append(f"Published on {results.corpus} (sources in the report):")
        lines.append(aligned([[row[k] for k in kept] for row in results.comparison]))
    return "\n".join([*lines, f"report: {folder.path / 'report.html'}"])


def read_results(
    folder: FoldFolder, info: CrossValidationInfo, made_by: Mapping[str, Any]
) -> CrossValidation:
    """Reads the predictions of all folds and scores them together."""
    answers = read_folds([(fold, folder.run_of(fold).path) for fold in info.folds])
    pooled = ScoreCard.of(pool_folds(answers), [sample for fold in answers for sample in fold.samples])
    found, corpus = score_folds(answers), corpus_of(made_by)
    has_published = pooled.predictions.task.is_single_label
    published = comparable_rows(corpus, pooled.predictions.names, info.folds) if has_published else []
    notes = make_notes(info, found, folder.differing_settings(info.folds))
    comparison = []
    if corpus is not None and published:
        notes.append(other_test(corpus, {fold.name: len(fold.predictions) for fold in answers}))
        recalls = {row.name: row.mean for row in found.classes}
        own = OwnRow(f"these runs ({len(answers)} folds)", found.mean["uar"], found.mean["war"], recalls)
        comparison = comparison_rows(published, own)
    return CrossValidation(
        info=info,
        scores=found,
        pooled=pooled,
        corpus=corpus,
        published=published,
        comparison=comparison,
        notes=list(filter(None, notes)),
    )


def fold_table(found: FoldScores) -> Table:
    """Returns a row for each fold, then mean, standard deviation and the intervals."""
    rows = [*found.folds.items(), ("mean", found.mean)] + [("std", found.std)] * bool(found.std)
    for end, word in enumerate(("from", "to")):
        ends = {name: interval[end] for name, interval in found.intervals.items()}
        rows.append((f"{LEVEL:.0%} {word}", ends))
    cells = [
        [title, *(shown(name, values[name], 2) if name in values else "" for name in found.mean)]
        for title, values in rows
    ]
    return Table(cells, ["fold", *map(column_title, found.mean)])


def make_notes(
    info: CrossValidationInfo, found: FoldScores, differing_settings: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Returns the sentences that limit what the numbers mean."""
    unit, count = found.unit, found.units
    samples = int(found.mean["samples"])
    notes = [SYNTHETIC] if info.synthetic else []
    drawn = f"{count:,} subjects of {samples:,} clips" if unit == "subject" else f"{count:,} clips"
    notes.append(f"The {LEVEL:.0%} interval is of the mean: {DRAWS:,} draws of {drawn}, within folds.")
    if set(info.folds) != set(info.all_folds):
        notes.append(
            f"These are {len(info.folds)} of the {len(info.all_folds)} folds of the shards "
            f"({', '.join(info.all_folds)}); their mean is not the mean of all folds."
        )
    for row in found.classes:
        without = [fold for fold, value in zip(found.folds, row.folds, strict=True) if isnan(value)]
        if without:
            folds = ", ".join(without)
            notes.append(f"No test clip of {row.name} in fold {folds}: the class does not count there.")
    for name, values in differing_settings.items():
        each = ", ".join(f"{value} in fold {fold}" for fold, value in values.items())
        notes.append(f"The folds were trained with different settings, {name}: {each}.")
    return notes


def scores_json(results: CrossValidation) -> dict[str, Any]:
    """Returns the content of `scores.json`, whose `scores` are the means over folds."""
    found, info = results.scores, results.info
    drawn = {"level": LEVEL, "draws": DRAWS, "unit": found.unit, "units": found.units}
    return {
        "scores": found.mean,
        "std": found.std,
        "intervals": {**drawn, **{name: list(ends) for name, ends in found.intervals.items()}},
        "folds": found.folds,
        results.pooled.predictions.task.class_score: {
            row.name: {"mean": row.mean, "folds": list(row.folds), "samples": row.samples}
            for row in found.classes
        },
        "pooled": results.pooled.scores,
        "synthetic": info.synthetic,
        "corpus": results.corpus,
        "published": [asdict(row) for row in results.published],
        "notes": list(results.notes),
        "seed": info.seed,
        "commands": list(info.commands),
        "versions": versions(),
    }


def write_fold_page(folder: Path, results: CrossValidation) -> None:
    """Draws the figures of all folds and writes `report.html`."""
    info, found, pooled = results.info, results.scores, results.pooled
    task = pooled.predictions.task
    title = f"{len(info.folds)} folds of {info.shards}" + (" (synthetic faces)" if info.synthetic else "")
    figures = folder / "figures"
    draw_scores(figures, pooled, f"{title}, pooled")
    draw_folds(figures / FOLDS, found.folds, found.mean, found.intervals, title)
    write_page(
        folder / "report.html",
        "folds.html",
        title=title,
        info=info,
        notes=results.notes,
        folds=fold_table(found),
        spread=figures / FOLDS,
        corpus=results.corpus,
        published=Table(results.comparison[1:], results.comparison[0] if results.comparison else ()),
        classes=class_table(found, task.class_score),
        pictures=score_pictures(figures),
        subjects=group_table(pooled.groups.get("subject", []), task.group_scores),
        settings=info.settings,
    )


def class_table(found: FoldScores, kind: str) -> Table:
    """Returns the score of each class or quantity in every fold, and the mean of those.

    Args:
        found: scores of the folds.
        kind: name of the score.
    """
    rows = [
        (row.name, *(shown(kind, value, 2) for value in (*row.folds, row.mean)), f"{row.samples:,}")
        for row in found.classes
    ]
    return Table(rows, [column_title(kind), *(f"fold {fold}" for fold in found.folds), "mean", "samples"])
