"""Pictures of scores: confusion matrix, reliability diagram, continuous answers, and how a run got there.

matplotlib is used through its object interface, as in `pictures`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from maedfer.evaluation.measures import BINS, confusion, reliability
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import TITLES, shown
from maedfer.report.reconstruction_figures import read_table, smooth
from maedfer.tasks import TASKS

CONFUSION, RELIABILITY, REGRESSION, LEARNING = (
    "confusion.png",
    "reliability.png",
    "regression.png",
    "learning.png",
)
"""File names in a folder of figures, where the report looks for them."""

READABLE_CLASSES = 20
"""With more classes the numbers in the cells would not fit; shades remain."""


def draw_scores(folder: Path, card: ScoreCard, title: str) -> None:
    """Draw what a task has: confusion and reliability, or continuous answers; several labels have neither."""
    folder.mkdir(parents=True, exist_ok=True)
    task = card.predictions.task
    if task.is_single_label:
        draw_confusion(folder / CONFUSION, card, title)
        draw_reliability(folder / RELIABILITY, card, title)
    if not task.has_classes:
        draw_regression(folder / REGRESSION, card, title)


def draw_confusion(path: Path, card: ScoreCard, title: str) -> None:
    """The confusion matrix: percent of each true class, and counts below; a class without samples is hatched.

    Args:
        path: PNG file.
        card: a classification.
        title: line above the picture; UAR and WAR are added.
    """
    predictions = card.predictions
    counts = confusion(predictions)
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    classes = len(predictions.names)
    side = min(2.6 + 0.6 * classes, 14)
    figure = Figure(figsize=(side + 0.4, side), layout="constrained")
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= READABLE_CLASSES:
        _write_cells(axis, counts, shares)
    for row in np.flatnonzero(totals[:, 0] == 0):
        axis.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor="0.8", hatch="////", linewidth=0)
    rows = [f"{name} ({total})" for name, total in zip(predictions.names, totals[:, 0], strict=True)]
    axis.set_yticks(range(classes), rows, fontsize=8)
    axis.set_xticks(
        range(classes), predictions.names, fontsize=8, rotation=45, ha="right", rotation_mode="anchor"
    )
    axis.set(xlabel="predicted: percent of the row (samples)", ylabel="true (samples)")
    line = f"UAR {shown('uar', card.scores['uar'])} %, WAR {shown('war', card.scores['war'])} %"
    _finish(figure, path, f"{title}\n{line}")


def _write_cells(axis: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Percent and count in every cell that has samples."""
    for (row, column), count in np.ndenumerate(counts):
        if not counts[row].any():
            continue
        share = shares[row, column]
        text = f"{100 * share:.0f}\n({count})" if count else "0"
        colour = "white" if share > 0.55 else "0.15" if count else "0.6"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def draw_reliability(path: Path, card: ScoreCard, title: str) -> None:
    """Accuracy against confidence, with the number of samples of each bin below.

    Args:
        path: PNG file.
        card: a classification.
        title: line above the picture; the calibration error is added.
    """
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
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
    error = shown("ece", card.scores["ece"])
    _finish(figure, path, f"{title}\ncalibration error {error} % ({BINS} bins)")


def draw_regression(path: Path, card: ScoreCard, title: str) -> None:
    """Answers against the truth, a panel per quantity, with its CCC.

    Args:
        path: PNG file.
        card: continuous quantities.
        title: line above the picture.
    """
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
        axis.spines[["top", "right"]].set_visible(False)
    _finish(figure, path, title)


def draw_learning(path: Path, metrics: Path, validation: Path, title: str) -> bool:
    """Training loss, learning rate, and the scores of the held-out samples against the step.

    Args:
        path: PNG file.
        metrics: `metrics.csv` of the run.
        validation: the table of its validation scores; both are drawn as far as they have columns.
        title: line above the picture.

    Returns:
        Whether there was anything to draw.
    """
    training, held_out = read_table(metrics), read_table(validation)
    panels = []
    if "loss" in training:
        panels.append(lambda axis: _draw_loss(axis, training, held_out))
    if "lr" in training:
        panels.append(lambda axis: _draw_rate(axis, training))
    if any(name in held_out for name in TITLES):
        panels.append(lambda axis: _draw_scores(axis, held_out))
    if not panels:
        return False
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axis)
        axis.set_xlabel("step")
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    _finish(figure, path, title)
    return True


def _draw_loss(axis: Axes, training: dict[str, list[float]], held_out: dict[str, list[float]]) -> None:
    steps, losses = training["step"], training["loss"]
    axis.plot(steps, losses, color="0.85", linewidth=0.8)
    axis.plot(steps, smooth(losses, max(len(losses) // 50, 1)), color="C0", label="training")
    if "loss" in held_out:
        axis.plot(held_out["step"], held_out["loss"], "o-", color="C1", markersize=3, label="held out")
    axis.set_title("loss", fontsize=9)
    axis.legend(fontsize=8, frameon=False)


def _draw_rate(axis: Axes, training: dict[str, list[float]]) -> None:
    axis.plot(training["step"], training["lr"], color="C0")
    axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axis.set_ylim(bottom=0)
    axis.set_title("learning rate", fontsize=9)


def _draw_scores(axis: Axes, held_out: dict[str, list[float]]) -> None:
    """Main scores as shares; the best step of the one that selects an epoch is marked."""
    drawn = [name for name in ("uar", "war", "macro_f1", "micro_f1", "ccc", "pearson") if name in held_out]
    for name in drawn:
        axis.plot(held_out["step"], held_out[name], "o-", markersize=3, label=TITLES[name])
    main = next((task.main_score for task in TASKS.values() if task.main_score in held_out), None)
    if main is not None:
        best = int(np.nanargmax(held_out[main]))
        axis.axvline(
            held_out["step"][best], color="0.4", linestyle=":", linewidth=1, label=f"best {TITLES[main]}"
        )
    axis.set_title("held-out scores", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    if "ccc" not in held_out:
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def _finish(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")
