"""The figure that answers "should I pretrain?": UAR against clips seen, baselines as lines across."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import new_figure
from matplotlib.axes import Axes

from maedfer.demo_table import PIXELS
from studies.answers import Answer
from studies.trials import PROBED, RANDOM, SCRATCH, TUNED

COLOURS = {TUNED: "#2b6cb0", PROBED: "#38a169", SCRATCH: "#c53030", RANDOM: "#dd6b20", PIXELS: "#718096"}
STYLES = ("-", "--", ":", "-.")


def draw_budget(path: Path, answers: Sequence[Answer]) -> None:
    """A row of axes for each set of faces, a column for each number of labels.

    Args:
        path: PNG file.
        answers: all seeds of everything.
    """
    sets = list(dict.fromkeys(answer.faces for answer in answers))
    labels = sorted({answer.labels for answer in answers})
    figure = new_figure(3.4 * len(labels) + 0.6, 2.7 * len(sets) + 1.1)
    grid = figure.subplots(len(sets), len(labels), sharex="row", sharey="row", squeeze=False)
    for axes, faces in zip(grid, sets, strict=True):
        for axis, few in zip(axes, labels, strict=True):
            _draw(axis, [a for a in answers if (a.faces, a.labels) == (faces, few)])
            axis.set_title(f"{faces} faces, {few} labels per class", fontsize=9)
        axes[0].set_ylabel("UAR in percent")
    for axis in grid[-1]:
        axis.set_xlabel("unlabelled clips seen")
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.suptitle("Drawn faces, people not seen in training; mean, and every seed", fontsize=10)
    figure.savefig(path)


def _draw(axis: Axes, answers: Sequence[Answer]) -> None:
    """One set of faces with one number of labels."""
    for row in dict.fromkeys(a.row for a in answers if not a.variant):
        values = [a.uar for a in answers if a.row == row and not a.variant]
        axis.axhline(sum(values) / len(values), color=COLOURS[row], linewidth=1, linestyle="--", label=row)
        axis.axhspan(min(values), max(values), color=COLOURS[row], alpha=0.1, linewidth=0)
    variants = list(dict.fromkeys(a.variant for a in answers if a.variant))
    for row in dict.fromkeys(a.row for a in answers if a.variant):
        for variant, style in zip(variants, STYLES * len(variants), strict=False):
            chosen = [a for a in answers if (a.row, a.variant) == (row, variant)]
            name = row if len(variants) == 1 else f"{row}: {variant}"
            _curve(axis, chosen, COLOURS[row], style, name)
    axis.set_xscale("log")
    axis.axhline(100 / 7, color="black", linewidth=0.6, linestyle=":")
    axis.spines[["top", "right"]].set_visible(False)


def _curve(axis: Axes, answers: Sequence[Answer], colour: str, style: str, name: str) -> None:
    """Mean over seeds as a line, seeds as dots."""
    budgets = sorted({a.clips for a in answers})
    values = [[a.uar for a in answers if a.clips == clips] for clips in budgets]
    axis.plot(
        budgets, [sum(v) / len(v) for v in values], style, color=colour, marker="o", markersize=3, label=name
    )
    axis.plot(
        [a.clips for a in answers], [a.uar for a in answers], ".", color=colour, alpha=0.35, markersize=4
    )
