"""What the runs of several folds say together: tables, `scores.json`, pooled predictions, a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

from maedfer.evaluation.bootstrap import DRAWS, LEVEL
from maedfer.evaluation.fold_scores import FoldScores, pool_folds, read_folds, score_folds
from maedfer.evaluation.predictions import SampleInfo, write_predictions
from maedfer.evaluation.published import (
    OwnRow,
    PublishedRow,
    comparable_rows,
    comparison_rows,
    corpus_of,
    other_test,
    percent,
)
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import TITLES
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.evaluation import group_table
from maedfer.report.page import (
    paragraph,
    picture,
    section,
    table,
    verbatim,
    versions,
    versions_table,
    write_page,
)
from maedfer.report.score_figures import CONFUSION, REGRESSION, RELIABILITY, draw_scores
from maedfer.report.spread_figures import FOLDS, draw_folds, scale_of
from maedfer.runs.fold_folder import FoldFolder
from maedfer.tasks import Task
from maedfer.text import aligned


@dataclass(frozen=True)
class FoldsAbout:
    """What has to stand beside the scores of folds.

    Attributes:
        folds: the folds that were tested on.
        all_folds: those that the shards have.
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


@dataclass(frozen=True, eq=False)
class FoldResults:
    """Everything that is told of several folds.

    Attributes:
        about: what has to stand beside the scores.
        found: the scores.
        pooled: the answers of all folds, and their scores.
        records: records of their clips.
        corpus: the corpus of the shards, if they name one.
        rows: published results on it.
        notes: sentences without which the numbers would say more than they do.
    """

    about: FoldsAbout
    found: FoldScores
    pooled: ScoreCard
    records: Sequence[SampleInfo]
    corpus: str | None
    rows: Sequence[PublishedRow]
    notes: Sequence[str]


def write_fold_results(folder: FoldFolder, about: FoldsAbout, maker: Mapping[str, Any]) -> str:
    """Write the results of all folds beside their runs; returns the tables for the screen.

    Writes `scores.json`, `predictions.csv` with the clips of all folds, figures and `report.html`.

    Args:
        folder: of the runs, all of which are done.
        about: what else to say.
        maker: `made_by` of the shards' index, which names their corpus.

    Raises:
        FileNotFoundError: a run has no predictions.
        ValueError: the runs do not fit together.
    """
    results = results_of(folder, about, maker)
    found, pooled = results.found, results.pooled
    write_predictions(folder.path / "predictions.csv", pooled.predictions, results.records)
    write_atomically(folder.path / "scores.json", dump_json(defined(as_json(results)), indent=1))
    figures = folder.path / "figures"
    title = f"{len(about.folds)} folds of {about.shards}" + (" (synthetic faces)" if about.synthetic else "")
    draw_scores(figures, pooled, f"{title}, pooled")
    draw_folds(figures / FOLDS, found.folds, found.mean, found.intervals, title)
    write_fold_page(folder.path, title, results)
    said = [aligned(fold_cells(found)), *results.notes]
    if results.rows:
        cells = comparison_rows(results.rows, own_row(found))
        said += [
            f"Published on {results.corpus} (sources in the report):",
            aligned([narrow(line, cells[0]) for line in cells]),
        ]
    return "\n".join([*said, f"report: {folder.path / 'report.html'}"])


def results_of(folder: FoldFolder, about: FoldsAbout, maker: Mapping[str, Any]) -> FoldResults:
    """Read the runs of all folds, and score them together."""
    answers = read_folds([(fold, folder.run_of(fold).path) for fold in about.folds])
    found, corpus = score_folds(answers), corpus_of(maker)
    records = [record for fold in answers for record in fold.samples]
    pooled = ScoreCard.of(pool_folds(answers), records)
    has_published = pooled.predictions.task.is_single_label
    rows = comparable_rows(corpus, pooled.predictions.names, about.folds) if has_published else []
    notes = notes_on(folder, about, found)
    if rows:
        notes.append(other_test(corpus, {fold.fold: len(fold.predictions) for fold in answers}))
    return FoldResults(about, found, pooled, records, corpus, rows, list(filter(None, notes)))


def fold_cells(found: FoldScores) -> list[list[str]]:
    """A row for each fold, then mean, standard deviation and the intervals, below a header."""
    names = [name for name in found.mean if name != "samples"]
    header = [
        "fold",
        *(TITLES[name] + (" (%)" if scale_of(name) == 100 else "") for name in names),
        "samples",
    ]
    rows = [
        [fold, *(number(n, values[n]) for n in names), f"{values['samples']:,.0f}"]
        for fold, values in found.folds.items()
    ]
    rows.append(["mean", *(number(n, found.mean[n]) for n in names), f"{found.mean['samples']:,.0f}"])
    if found.std:
        rows.append(["std", *(number(n, found.std[n]) for n in names), ""])
    for place, what in enumerate(("from", "to")):
        ends = [found.intervals[n][place] if n in found.intervals else None for n in names]
        shown = ["" if end is None else number(n, end) for n, end in zip(names, ends, strict=True)]
        rows.append([f"{LEVEL:.0%} {what}", *shown, ""])
    return [header, *rows]


def number(name: str, value: float) -> str:
    """A score as papers print it: percent with two decimals, or three decimals."""
    return percent(value) if scale_of(name) == 100 else "–" if isnan(value) else f"{value:.3f}"


def narrow(line: Sequence[str], header: Sequence[str]) -> list[str]:
    """The cells of a line of published results that fit on a screen: no classes, no source."""
    kept = ("", "fold", "params (M)", "MACs (G)", "modality", "UAR (%)", "WAR (%)")
    return [cell for cell, name in zip(line, header, strict=True) if name in kept]


def own_row(found: FoldScores) -> OwnRow:
    """The mean over folds, to stand beside published results."""
    recalls = {row.name: row.mean for row in found.classes}
    return OwnRow(f"these runs ({len(found.folds)} folds)", found.mean["uar"], found.mean["war"], recalls)


def notes_on(folder: FoldFolder, about: FoldsAbout, found: FoldScores) -> list[str]:
    """Sentences without which the numbers would say more than they do."""
    what, count = found.unit, found.units
    samples = int(found.mean["samples"])
    notes = ["All faces in these data are synthetic."] if about.synthetic else []
    drawn = f"{count:,} subjects of {samples:,} clips" if what == "subject" else f"{count:,} clips"
    notes.append(f"The {LEVEL:.0%} interval is of the mean: {DRAWS:,} draws of {drawn}, within folds.")
    if set(about.folds) != set(about.all_folds):
        notes.append(
            f"These are {len(about.folds)} of the {len(about.all_folds)} folds there are "
            f"({', '.join(about.all_folds)}): their mean is not that of all."
        )
    for row in found.classes:
        without = [fold for fold, value in zip(found.folds, row.folds, strict=True) if isnan(value)]
        if without:
            notes.append(f"No test clip of {row.name} in fold {', '.join(without)}: it does not count there.")
    for name, values in folder.unlike_settings(about.folds).items():
        each = ", ".join(f"{value} in fold {fold}" for fold, value in values.items())
        notes.append(f"Trained with unlike settings, {name}: {each}.")
    return notes


def as_json(results: FoldResults) -> dict[str, Any]:
    """The content of `scores.json`: `scores` are the means over folds."""
    found, about = results.found, results.about
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
        "synthetic": about.synthetic,
        "corpus": results.corpus,
        "published": [asdict(row) for row in results.rows],
        "notes": list(results.notes),
        "seed": about.seed,
        "commands": list(about.commands),
        "versions": versions(),
    }


def write_fold_page(folder: Path, title: str, results: FoldResults) -> None:
    """Write `report.html` of all folds."""
    about, found, pooled = results.about, results.found, results.pooled
    task = pooled.predictions.task
    header, *lines = fold_cells(found)
    beside = comparison_rows(results.rows, own_row(found)) if results.rows else []
    by_subject = pooled.groups.get("subject", [])
    figures = folder / "figures"
    sections = (
        paragraph(f"Seed {about.seed}. {' '.join(results.notes)}"),
        verbatim("\n".join(about.commands)),
        section("Folds", table(lines, header) + picture(figures / FOLDS)),
        section(f"Published on {results.corpus}", table(beside[1:], beside[0]) if beside else ""),
        section("Classes", class_cells(found, task)),
        section("Confusion, all folds", picture(figures / CONFUSION)),
        section("Reliability, all folds", picture(figures / RELIABILITY)),
        section("Predicted and true, all folds", picture(figures / REGRESSION)),
        section("By subject", group_table(by_subject, task.group_scores) if by_subject else ""),
        section("Settings", verbatim(about.settings)),
        section("Versions", versions_table()),
    )
    write_page(folder / "report.html", title, sections)


def class_cells(found: FoldScores, task: Task) -> str:
    """The score of each class or quantity in every fold, and the mean of those."""
    kind = task.class_score
    name = TITLES.get(kind, kind) + (" (%)" if scale_of(kind) == 100 else "")
    rows = [
        (row.name, *(number(kind, value) for value in (*row.folds, row.mean)), f"{row.samples:,}")
        for row in found.classes
    ]
    return table(rows, [name, *(f"fold {fold}" for fold in found.folds), "mean", "samples"])
