"""Runs `maedfer compare`: two models on the same test clips, and whether they differ.

The result is a table for the screen, `comparison.json`, a figure and `report.html`.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from maedfer.errors import UserError
from maedfer.evaluation.bootstrap import DRAWS, LEVEL
from maedfer.evaluation.compare import Comparison, Difference, align_clips, compare_runs
from maedfer.evaluation.predictions import RunPredictions
from maedfer.evaluation.scores import column_title, shown
from maedfer.files import defined, dump_json, make_folder, write_atomically
from maedfer.report.page import Table, versions, write_page
from maedfer.report.spread_figures import DIFFERENCES, draw_differences
from maedfer.tasks import Task


def compare(runs: list[str], out: str = "runs/compare") -> str:
    """Compares two models on the test clips that both were tested on.

    Writes `comparison.json`, a figure and `report.html`; differences are those of the second from the first.

    Args:
        runs: Two folders with `predictions.csv`: fine-tuned runs, folders of folds, or evaluations.
        out: Folder of the results.

    Returns:
        The table of differences.

    Raises:
        FileNotFoundError: a folder has no predictions.
        UserError: the runs differ in their task, classes or test clips; both are the same folder; `out` holds
            a run.
    """
    folder = Path(out)
    check_folders(runs, folder)
    first, second = (RunPredictions.read(run, Path(run)) for run in runs)
    found = compare_runs(first, align_clips(first, second))
    make_folder(folder)
    write_atomically(folder / "comparison.json", dump_json(defined(comparison_json(found)), indent=1))
    write_comparison_page(folder, found)
    return f"{format_comparison(found)}\nreport: {folder / 'report.html'}"


def check_folders(runs: list[str], out: Path) -> None:
    """Checks that two different runs are compared, and that no report of a run is overwritten.

    Raises:
        UserError: otherwise.
    """
    if len(runs) != 2:
        raise UserError("runs", f"compare takes two runs, not {len(runs)}: maedfer compare RUN RUN")
    if Path(runs[0]).resolve() == Path(runs[1]).resolve():
        raise UserError("runs", f"{runs[0]} and {runs[1]} are the same folder; name two runs")
    if any((out / name).exists() for name in ("config.yaml", "predictions.csv")):
        raise UserError("out", f"{out} holds a run or an evaluation with a report; give another folder")


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Returns the content of `comparison.json`."""
    differences = {row.score: row._asdict() | {"difference": row.value} for row in found.differences}
    tested = {} if found.mcnemar is None else {"mcnemar": found.mcnemar._asdict()}
    drawn = {"draws": DRAWS, "level": LEVEL, "versions": versions()}
    return asdict(found) | {"task": found.task.name, "differences": differences} | tested | drawn


def format_comparison(found: Comparison) -> str:
    """Formats the table for the screen."""
    names = f"first: {found.first}\nsecond: {found.second}"
    return "\n".join([names, difference_table(found).as_text(), *make_notes(found)])


def difference_table(found: Comparison) -> Table:
    """Returns a row for each score: both models, their difference and its interval."""
    rows = [(score_title(row.score, found.task), *format_difference(row)) for row in found.differences]
    return Table(rows, ["", "first", "second", "difference", f"{LEVEL:.0%} from", "to"])


def score_title(score: str, task: Task) -> str:
    """Returns the title of a score with its unit; scores of a class are titled by the class."""
    if score in task.main_scores:
        return column_title(score)
    return column_title(*score.split("_", 1))


def format_difference(row: Difference) -> list[str]:
    """Formats both scores, their difference and its interval as papers print them."""
    plain = [shown(row.score, value, 2) for value in (row.first, row.second)]
    return plain + [shown(row.score, value, 2, "+") for value in (row.value, *row.interval)]


def make_notes(found: Comparison) -> list[str]:
    """Returns sentences on the clips behind the numbers, and McNemar's test in words."""
    clips = f"{found.samples:,} clips"
    drawn = f"{found.units:,} subjects of {clips}" if found.unit == "subject" else clips
    means = f"Scores are means over {len(found.folds)} folds. " if found.folds else ""
    within = ", within folds" if found.folds else ""
    notes = [f"{means}Intervals: {DRAWS:,} draws of {drawn}{within}, the same draws for both."]
    if found.mcnemar is not None:
        test = found.mcnemar
        notes.append(
            f"Right: both {test.both:,}, only the first {test.only_first:,}, only the second "
            f"{test.only_second:,}, neither {test.neither:,}. McNemar's exact test: p = {test.p:.3g}."
        )
    return notes


def write_comparison_page(folder: Path, found: Comparison) -> None:
    """Draws the figure and writes `report.html`."""
    figure = folder / "figures" / DIFFERENCES
    rows = {score_title(row.score, found.task): row for row in found.differences if not isnan(row.value)}
    draw_differences(figure, rows, "second minus first", f"first: {found.first}\nsecond: {found.second}")
    notes = make_notes(found)
    if len(found.differences) > len(found.task.main_scores):
        notes.append("The intervals of single classes are not corrected for multiple comparisons.")
    write_page(
        folder / "report.html",
        "comparison.html",
        title=f"{Path(found.first).name} and {Path(found.second).name}",
        first=found.first,
        second=found.second,
        command=f"maedfer compare {shlex.join([found.first, found.second])}",
        differences=difference_table(found),
        notes=notes,
        figure=figure,
        settings="",
    )
