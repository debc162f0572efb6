"""Draws scores: confusion matrix, reliability diagram, predicted against true quantities, learning curves.

matplotlib is used through its object interface, as in `reconstruction_figures`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from maedfer.evaluation.measures import BINS, PLAIN, TITLES, confusion, reliability
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import shown
from maedfer.report.reconstruction_figures import Columns, plot_loss, read_table
from maedfer.report.spread_figures import save_figure
from maedfer.tasks import TASKS

CONFUSION, RELIABILITY = "confusion.png", "reliability.png"
REGRESSION, LEARNING = "regression.png", "learning.png"
"""File names in a folder of figures."""

READABLE_CLASSES = 20
"""Cells of a confusion matrix with more classes have no numbers, which would not fit."""


def score_pictures(figures: Path) -> dict[str, Path]:
    """Returns the pictures of a page of scores by heading; the page leaves out those that do not exist."""
    return {
        "Confusion": figures / CONFUSION,
        "Reliability": figures / RELIABILITY,
        "Predicted and true": figures / REGRESSION,
        "Training": figures / LEARNING,
    }


def draw_scores(folder: Path, card: ScoreCard, title: str) -> None:
    """Draws confusion and reliability of classes, or predicted against true quantities.

    Several labels per sample have neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    task = card.predictions.task
    if task.is_single_label:
        draw_confusion(folder / CONFUSION, card, title)
        draw_reliability(folder / RELIABILITY, card, title)
    if not task.has_classes:
        draw_regression(folder / REGRESSION, card, title)


def draw_confusion(path: Path, card: ScoreCard, title: str) -> None:
    """Draws the confusion matrix: percent of each true class, with counts; hatched without samples."""
    names, counts = card.predictions.names, confusion(card.predictions)
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    classes = len(names)
    side = min(2.6 + 0.6 * classes, 14)
    figure = Figure(figsize=(side + 0.4, side), layout="constrained")
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.spines[:].set_visible(False)
    if classes <= READABLE_CLASSES:
        _write_cells(axis, counts, shares)
    for row in np.flatnonzero(totals[:, 0] == 0):
        axis.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor="0.8", hatch="////", linewidth=0)
    rows = [f"{name} ({total})" for name, total in zip(names, totals[:, 0], strict=True)]
    axis.set_yticks(range(classes), rows, fontsize=8)
    axis.set_xticks(range(classes), names, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    axis.set(xlabel="predicted: percent of the row (samples)", ylabel="true (samples)")
    line = f"UAR {shown('uar', card.scores['uar'])} %, WAR {shown('war', card.scores['war'])} %"
    save_figure(figure, path, f"{title}\n{line}")


def _write_cells(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes percent and count into every cell of a class that has samples."""
    for (row, column), count in np.ndenumerate(counts):
        if not counts[row].any():
            continue
        share = shares[row, column]
        text = f"{100 * share:.0f}\n({count})" if count else "0"
        colour = "white" if share > 0.55 else "0.15" if count else "0.6"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def draw_reliability(path: Path, card: ScoreCard, title: str) -> None:
    """Draws accuracy against confidence, with the number of samples of each bin below."""
    confidence, accuracy, count = reliability(card.predictions)
    centres = (np.arange(BINS) + 0.5) / BINS
    figure = Figure(figsize=(4.6, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.bar(
        centres, np.nan_to_num(accuracy), width=1 / BINS, color="C0", edgecolor="white", label="accuracy"
    )
    upper.plot(
        confidence, confidence, "_", color="C1", markersize=13, markeredgewidth=2, label="mean confidence"
    )
    upper.plot((0, 1), (0, 1), color="0.4", linestyle=":", linewidth=1)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.legend(fontsize=8, frameon=False, loc="upper left")
    lower.bar(centres, count, width=1 / BINS, color="0.6", edgecolor="white")
    lower.set(xlabel="confidence (probability of the answer)", ylabel="samples")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    error = shown("ece", card.scores["ece"])
    save_figure(figure, path, f"{title}\ncalibration error {error} % ({BINS} bins)")


def draw_regression(path: Path, card: ScoreCard, title: str) -> None:
    """Draws predicted against true values, one panel per quantity with its CCC."""
    predictions, names = card.predictions, card.predictions.names
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns + 0.4, 3.3 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for k, (axis, name) in enumerate(zip(axes, names, strict=False)):
        truth, answer = predictions.targets[:, k], predictions.outputs[:, k]
        axis.scatter(truth, answer, s=10, alpha=0.4, linewidths=0, color="C0")
        axis.axline((truth[0], truth[0]), slope=1, color="0.4", linestyle=":", linewidth=1)
        axis.set(xlabel="true", ylabel="predicted")
        axis.set_title(f"{name}: CCC {shown('ccc', card.scores[f'ccc_{name}'])}", fontsize=9)
        axis.set_aspect("equal", adjustable="datalim")
    save_figure(figure, path, title)


def draw_learning(path: Path, metrics: Path, validation: Path, title: str) -> bool:
    """Draws training loss, learning rate and held-out scores against the step.

    Args:
        path: PNG file.
        metrics: `metrics.csv` of the run.
        validation: table of its validation scores; panels without columns in the tables are left out.
        title: line above the picture.

    Returns:
        False if there was nothing to draw.
    """
    training, held_out = read_table(metrics), read_table(validation)
    panels: list[Callable[[Axes, Columns, Columns], None]] = [
        *[_draw_loss] * ("loss" in training),
        *[_draw_rate] * ("lr" in training),
        *[_draw_scores] * any(name in held_out for name in TITLES),
    ]
    if not panels:
        return False
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axis, training, held_out)
        axis.set_xlabel("step")
    save_figure(figure, path, title)
    return True


def _draw_loss(axis: Axes, training: Columns, held_out: Columns) -> None:
    plot_loss(axis, training, held_out, "loss", "loss")
    axis.set_title("loss", fontsize=9)
    axis.legend(fontsize=8, frameon=False)


def _draw_rate(axis: Axes, training: Columns, held_out: Columns) -> None:
    axis.plot(training["step"], training["lr"], color="C0")
    axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axis.set_ylim(bottom=0)
    axis.set_title("learning rate", fontsize=9)


def _draw_scores(axis: Axes, training: Columns, held_out: Columns) -> None:
    """Draws the main scores as shares, and marks the best step of the score that selects an epoch."""
    names = [*(name for task in TASKS.values() for name in task.main_scores), "pearson"]
    drawn = [name for name in names if name in held_out]
    for name in drawn:
        axis.plot(held_out["step"], held_out[name], "o-", markersize=3, label=TITLES[name])
    main = next((name for name in (task.main_score for task in TASKS.values()) if name in held_out), None)
    if main is not None:
        best = int(np.nanargmax(held_out[main]))
        axis.axvline(
            held_out["step"][best], color="0.4", linestyle=":", linewidth=1, label=f"best {TITLES[main]}"
        )
    axis.set_title("held-out scores", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    if not set(PLAIN) & set(drawn):
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
