"""Draws scores with their spread: folds around their mean, and differences between two models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maedfer.evaluation.bootstrap import LEVEL
from maedfer.evaluation.compare import Difference
from maedfer.evaluation.measures import TITLES
from maedfer.evaluation.scores import scale_of

FOLDS, DIFFERENCES = "folds.png", "differences.png"
"""File names in a folder of figures."""


def draw_folds(
    path: Path,
    each: Mapping[str, Mapping[str, float]],
    mean: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    title: str,
) -> None:
    """Draws the main scores of every fold; a line marks their mean and a band its interval.

    Args:
        path: PNG file.
        each: scores by fold.
        mean: their means.
        intervals: the interval of each main score.
        title: line above the picture.
    """
    figure = Figure(figsize=(3.2 + 0.7 * len(each), 3.4), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(each))
    for number, (score, (low, high)) in enumerate(intervals.items()):
        scale, colour = scale_of(score), f"C{number}"
        axis.plot(places, [scale * values[score] for values in each.values()], "o", color=colour)
        axis.axhline(scale * mean[score], color=colour, linewidth=1, label=f"mean {TITLES[score]}")
        label = f"its {LEVEL:.0%} interval"
        axis.axhspan(scale * low, scale * high, color=colour, alpha=0.15, linewidth=0, label=label)
    axis.set_xticks(places, list(each), rotation=0 if max(map(len, each)) < 6 else 30)
    unit = "%" if all(scale_of(score) == 100 for score in intervals) else ""
    axis.set(xlabel="test fold", ylabel=unit, xlim=(-0.5, len(each) - 0.5))
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, path, title)


def draw_differences(path: Path, rows: Mapping[str, Difference], unit: str, title: str) -> None:
    """Draws differences between two models with their intervals, one line for each score or class.

    Args:
        path: PNG file.
        rows: the differences by their titles; intervals that do not contain zero are coloured.
        unit: label of the axis.
        title: line above the picture.
    """
    figure = Figure(figsize=(5.2, 1.4 + 0.28 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, row in enumerate(rows.values()):
        low, value, high = (scale_of(row.score) * x for x in (row.interval[0], row.value, row.interval[1]))
        if not np.isnan(value):
            colour = "C0" if low > 0 or high < 0 else "0.6"
            axis.plot((low, high), (place, place), color=colour, linewidth=2)
            axis.plot(value, place, "o", color=colour)
    axis.axvline(0, color="0.3", linewidth=1)
    axis.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    save_figure(figure, path, title)


def save_figure(figure: Figure, path: Path, title: str) -> None:
    """Saves a figure as PNG with a title, without the upper and right frames of its axes."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
