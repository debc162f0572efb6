"""The figure that answers "should I pretrain?": UAR against clips seen, baselines as lines across."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import new_figure
from matplotlib.axes import Axes

from maedfer.demo.table import PIXELS
from maedfer.errors import UserError
from studies.answers import Answer
from studies.trials import PROBED, RANDOM, SCRATCH, TUNED

COLOURS = {TUNED: "#2b6cb0", PROBED: "#38a169", SCRATCH: "#c53030", RANDOM: "#dd6b20", PIXELS: "#718096"}
STYLES = ("-", ":", "-.", (0, (1, 4)))
"""Of recipes; dashes are for the baselines."""

CHANCE = 100 / 7

Style = str | tuple[int, tuple[int, int]]


def draw_budget(path: Path, answers: Sequence[Answer]) -> None:
    """A row of axes for each set of faces, a column for each number of labels.

    Args:
        path: PNG file.
        answers: all seeds of everything, of up to four recipes.

    Raises:
        UserError: more recipes than can be told apart.
    """
    sets = list(dict.fromkeys(answer.faces for answer in answers))
    labels = sorted({answer.labels for answer in answers})
    if len({answer.variant for answer in answers if answer.variant}) > len(STYLES):
        raise UserError(
            "variants", f"one figure shows {len(STYLES)} recipes at most; ask for the others next"
        )
    figure = new_figure(max(6.5, 3.4 * len(labels) + 0.8), 2.6 * len(sets) + 1.5)
    grid = figure.subplots(len(sets), len(labels), sharex=True, sharey=True, squeeze=False)
    for axes, faces in zip(grid, sets, strict=True):
        for axis, few in zip(axes, labels, strict=True):
            _draw(axis, [a for a in answers if (a.faces, a.labels) == (faces, few)])
            axis.set_title(f"{faces} faces, {few} labels per class", fontsize=9)
        axes[0].set_ylabel("UAR in percent")
    grid[0][0].set_ylim(0, 100)  # chance must look like chance
    for axis in grid[-1]:
        axis.set_xlabel("unlabelled clips seen")
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.suptitle(
        "People not seen in training: means, every seed a dot, baselines with their range", fontsize=9
    )
    figure.savefig(path)


def _draw(axis: Axes, answers: Sequence[Answer]) -> None:
    """One set of faces with one number of labels."""
    for row in dict.fromkeys(a.row for a in answers if not a.variant):
        values = [a.uar for a in answers if a.row == row and not a.variant]
        axis.axhline(sum(values) / len(values), color=COLOURS[row], linewidth=1, linestyle="--", label=row)
        axis.axhspan(min(values), max(values), color=COLOURS[row], alpha=0.1, linewidth=0)
    axis.axhline(CHANCE, color="black", linewidth=0.6, linestyle="--", label="chance")
    variants = list(dict.fromkeys(a.variant for a in answers if a.variant))
    for row in dict.fromkeys(a.row for a in answers if a.variant):
        for variant, style in zip(variants, STYLES, strict=False):
            chosen = [a for a in answers if (a.row, a.variant) == (row, variant)]
            name = row if len(variants) == 1 else f"{row}: {variant}"
            _curve(axis, chosen, COLOURS[row], style, name)
    budgets = sorted({a.clips for a in answers if a.variant})
    axis.set_xscale("log")
    axis.set_xticks(budgets, [f"{clips / 1000:.3g}k" for clips in budgets], fontsize=8)
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)


def _curve(axis: Axes, answers: Sequence[Answer], colour: str, style: Style, name: str) -> None:
    """Mean over seeds as a line, seeds as dots."""
    budgets = sorted({a.clips for a in answers})
    values = [[a.uar for a in answers if a.clips == clips] for clips in budgets]
    means = [sum(some) / len(some) for some in values]
    axis.plot(budgets, means, linestyle=style, color=colour, marker="o", markersize=3, label=name)
    dots = {"color": colour, "alpha": 0.35, "markersize": 4}
    axis.plot([a.clips for a in answers], [a.uar for a in answers], ".", **dots)
