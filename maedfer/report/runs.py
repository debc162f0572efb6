"""Writes `report.html` of a pre-training run, and summarises the speed of any run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from maedfer.evaluation.reconstruction import PREDICTORS, error_rows
from maedfer.report.page import Table, newest, write_page
from maedfer.report.reconstruction_figures import read_rows
from maedfer.runs.folder import RunFolder


def write_report(folder: RunFolder, title: str, command: str, summary: Mapping[str, Any]) -> None:
    """Writes `report.html` of a pre-training run.

    Args:
        folder: the run.
        title: heading, such as the architecture and the shards.
        command: the command line that ended the run.
        summary: contents of its `summary.json`.
    """
    write_page(
        folder.report,
        "pretraining.html",
        title=title,
        command=command,
        steps=summary["steps"],
        synthetic=summary["synthetic"],
        pace=describe_pace(folder.path),
        held_out=held_out_table(summary["held_out"]),
        losses=folder.figures / "losses.png",
        reconstruction=newest(folder.figures, "reconstruction_*.png"),
        settings=folder.config.read_text(encoding="utf-8"),
    )


def describe_pace(run: Path) -> str:
    """Describes the median speed of a run's folder and its skipped steps; empty if nothing was measured."""
    sentences = []
    windows = read_rows(run / "throughput.csv")
    if windows:
        rate, waiting = (median(float(row[name]) for row in windows) for name in ("clips_per_s", "waiting"))
        sentences.append(f"Trained on {rate:,.1f} clips/s, {waiting:.0%} of the time waiting for data.")
    skipped = {row["step"] for row in read_rows(run / "non_finite.csv")}
    if skipped:
        sentences.append(f"Steps skipped because their loss was NaN or infinite: {len(skipped)}.")
    return " ".join(sentences)


def held_out_table(errors: Mapping[str, float]) -> Table:
    """Returns the errors of the heads and both baselines; no rows for a run without a held-out split."""
    header = [name.replace("_", " ") for name in ("head", *PREDICTORS, "gain")]
    return Table(error_rows(errors), header)
