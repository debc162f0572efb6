"""Pictures of scores with their spread: folds beside their mean, and differences between two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maedfer.evaluation.bootstrap import LEVEL
from maedfer.evaluation.scores import PLAIN, TITLES

FOLDS, DIFFERENCES = "folds.png", "differences.png"
"""File names in a folder of figures."""


def scale_of(score: str) -> int:
    """What a score is multiplied with to be shown: 100 for shares, 1 for counts and others."""
    return 1 if score.split("_")[0] in (*PLAIN, "absent", "samples") else 100


def draw_folds(
    path: Path,
    each: Mapping[str, Mapping[str, float]],
    mean: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    title: str,
) -> None:
    """The main scores of every fold, with their mean and its interval as a line in a band.

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
    for number, (score, ends) in enumerate(intervals.items()):
        scale, colour = scale_of(score), f"C{number}"
        axis.plot(places, [scale * values[score] for values in each.values()], "o", color=colour)
        axis.axhline(scale * mean[score], color=colour, linewidth=1, label=f"mean {TITLES[score]}")
        band = {"color": colour, "alpha": 0.15, "linewidth": 0, "label": f"its {LEVEL:.0%} interval"}
        axis.axhspan(*(scale * end for end in ends), **band)
    axis.set_xticks(places, list(each), rotation=0 if max(map(len, each)) < 6 else 30)
    unit = "%" if all(scale_of(score) == 100 for score in intervals) else ""
    axis.set(xlabel="test fold", ylabel=unit, xlim=(-0.5, len(each) - 0.5))
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _finish(figure, path, title)


def draw_differences(
    path: Path, rows: Sequence[tuple[str, float, tuple[float, float]]], unit: str, title: str
) -> None:
    """Differences between two models with their intervals, one line for each score or class.

    Args:
        path: PNG file.
        rows: name, difference and interval, as they are shown; NaN leaves a line empty.
        unit: what the axis says.
        title: line above the picture.
    """
    figure = Figure(figsize=(5.2, 1.4 + 0.28 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, (_, difference, ends) in enumerate(rows):
        if not np.isnan(difference):
            clear = ends[0] > 0 or ends[1] < 0
            axis.plot(ends, (place, place), color="C0" if clear else "0.6", linewidth=2)
            axis.plot(difference, place, "o", color="C0" if clear else "0.6")
    axis.axvline(0, color="0.3", linewidth=1)
    axis.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(unit)
    _finish(figure, path, title)


def _finish(figure: Figure, path: Path, title: str) -> None:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
