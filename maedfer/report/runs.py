"""`report.html` of a pre-training run, and the lines about its speed that every run's page shows."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from maedfer.evaluation.reconstruction import HEADS, PREDICTORS, gain
from maedfer.report.page import (
    newest,
    paragraph,
    picture,
    section,
    table,
    verbatim,
    versions_table,
    write_page,
)
from maedfer.runs.folder import RunFolder


def write_report(folder: RunFolder, title: str, command: str, summary: Mapping[str, Any]) -> None:
    """Write `report.html` of a pre-training run.

    Args:
        folder: the run.
        title: heading, such as the architecture and the shards.
        command: the command line that ended the run.
        summary: contents of its `summary.json`.
    """
    sections = (
        paragraph(f"{summary['steps']:,} steps. {_warning(summary['synthetic'])}"),
        paragraph(pace(folder.path)),
        verbatim(command),
        section("Held-out reconstruction", held_out_table(summary["held_out"])),
        section("Losses", picture(folder.figures / "losses.png")),
        section("Reconstruction", picture(newest(folder.figures, "reconstruction_*.png"))),
        section("Settings", verbatim(folder.config.read_text(encoding="utf-8"))),
        section("Versions", versions_table()),
    )
    write_page(folder.report, title, sections)


def pace(folder: Path) -> str:
    """How fast a run was (the median of its rows) and what it left out; empty where nothing was measured.

    Args:
        folder: the run.
    """
    said = []
    speeds = _rows(folder / "throughput.csv")
    if speeds:
        rate, waiting = (median(float(row[name]) for row in speeds) for name in ("clips_per_s", "waiting"))
        said.append(f"Trained on {rate:,.1f} clips/s, {waiting:.0%} of the time waiting for data.")
    lost = {row["step"] for row in _rows(folder / "non_finite.csv")}
    if lost:
        said.append(f"Steps left out, as their loss was no number: {len(lost)}.")
    return " ".join(said)


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _warning(synthetic: bool) -> str:
    """What has to stand beside every number of drawn faces."""
    return "All faces in these data are synthetic." if synthetic else ""


def held_out_table(errors: Mapping[str, float]) -> str:
    """Errors of the heads beside both baselines; empty for a run without a held-out split."""
    if not errors:
        return ""
    rows = []
    for name in (*HEADS, "total"):
        values = [errors[f"{name}_{predictor}"] for predictor in PREDICTORS]
        rows.append([name, *(f"{v:.4f}" for v in values), gain(errors, name)])
    return table(rows, [name.replace("_", " ") for name in ("head", *PREDICTORS, "gain")])
