"""What `maedfer compare` found, as a table for the screen, JSON, and a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from maedfer.evaluation.bootstrap import DRAWS, LEVEL
from maedfer.evaluation.comparison import Comparison, Difference
from maedfer.evaluation.scores import TITLES
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
from maedfer.report.spread_figures import DIFFERENCES, draw_differences, scale_of
from maedfer.tasks import Task
from maedfer.text import aligned


def as_json(found: Comparison) -> dict[str, Any]:
    """The content of `comparison.json`."""
    differences = {row.score: row._asdict() | {"difference": row.value} for row in found.differences}
    tested = {} if found.mcnemar is None else {"mcnemar": found.mcnemar._asdict()}
    drawn = {"draws": DRAWS, "level": LEVEL, "versions": versions()}
    content = asdict(found) | {"task": found.task.name, "differences": differences}
    return content | tested | drawn


def as_text(found: Comparison) -> str:
    """The table for the screen."""
    lines = [f"first: {found.first}", f"second: {found.second}", aligned(cells_of(found)), *sentences(found)]
    return "\n".join(lines)


def cells_of(found: Comparison) -> list[list[str]]:
    """A row for each score, below a header."""
    header = ["", "first", "second", "difference", f"{LEVEL:.0%} from", "to"]
    return [header, *([title_of(row.score, found.task), *numbers(row)] for row in found.differences)]


def title_of(score: str, task: Task) -> str:
    """How a score is called, with its unit: a main one by its title, others by their class."""
    unit = " (%)" if scale_of(score) == 100 else ""
    kind, _, name = score.partition("_")
    return (
        f"{TITLES[score]}{unit}" if score in task.main_scores else f"{TITLES.get(kind, kind)} of {name}{unit}"
    )


def numbers(row: Difference) -> list[str]:
    """Both scores, their difference and its interval, as papers print them."""
    scale = scale_of(row.score)
    digits = 2 if scale == 100 else 3
    plain = [f"{scale * value:.{digits}f}" for value in (row.first, row.second)]
    signed = [f"{scale * value:+.{digits}f}" for value in (row.value, *row.interval)]
    return ["–" if text.endswith("nan") else text for text in (*plain, *signed)]


def sentences(found: Comparison) -> list[str]:
    """What the numbers rest on, and McNemar's test in words."""
    drawn = f"{found.units:,} subjects of {found.samples:,} clips" if found.unit == "subject" else ""
    drawn = drawn or f"{found.samples:,} clips"
    means = f"Scores are means over {len(found.folds)} folds. " if found.folds else ""
    within = ", within folds" if found.folds else ""
    lines = [f"{means}Intervals: {DRAWS:,} draws of {drawn}{within}, the same for both."]
    if found.mcnemar is not None:
        test = found.mcnemar
        lines.append(
            f"Right: both {test.both:,}, only the first {test.only_first:,}, only the second "
            f"{test.only_second:,}, neither {test.neither:,}. McNemar's exact test: p = {test.p:.3g}."
        )
    return lines


def write_comparison(folder: Path, found: Comparison) -> None:
    """Write the figure and `report.html`."""
    title = "Second minus first"
    figure = folder / "figures" / DIFFERENCES
    defined = [row for row in found.differences if not isnan(row.value)]
    rows = [(title_of(row.score, found.task), *_scaled(row)) for row in defined]
    draw_differences(figure, rows, "second minus first", f"first: {found.first}\nsecond: {found.second}")
    header, *cells = cells_of(found)
    several = len(found.differences) > len(found.task.main_scores)
    note = "The intervals of single classes are not corrected for their number." if several else ""
    sections = (
        paragraph(f"First: {found.first}. Second: {found.second}."),
        verbatim(f"maedfer compare {shlex.join([found.first, found.second])}"),
        section(title, table(cells, header) + _paragraphs([*sentences(found), note]) + picture(figure)),
        section("Versions", versions_table()),
    )
    write_page(folder / "report.html", f"{Path(found.first).name} and {Path(found.second).name}", sections)


def _scaled(row: Difference) -> tuple[float, tuple[float, float]]:
    scale = scale_of(row.score)
    return scale * row.value, (scale * row.interval[0], scale * row.interval[1])


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(map(paragraph, lines))
