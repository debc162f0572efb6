"""Writes the results of `maedfer demo`: an answer in words, a chart, the table, and `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from maedfer.demo.table import (
    ATTENTIVE_PROBE,
    CLASSES,
    FINE_TUNED,
    FROM_SCRATCH,
    LABELS_PER_CLASS,
    PIXELS,
    ROWS_FROM_SCRATCH,
    Scores,
)
from maedfer.report.page import Table, newest, write_page
from maedfer.report.spread_figures import save_figure

CHANCE = 100 / CLASSES


def write_demo_page(folder: Path, scores: Scores, unlabelled: int, labelled: int) -> None:
    """Draws the chart `scores.png` and writes `report.html`.

    Args:
        folder: folder of the demo.
        scores: rows of the table.
        unlabelled: clips of pre-training.
        labelled: clips of fine-tuning.
    """
    chart = folder / "scores.png"
    draw_chart(chart, scores)
    write_page(
        folder / "report.html",
        "demo.html",
        title="maedfer demo",
        answer=answer(scores, unlabelled, labelled),
        chart=chart,
        scores=score_table(scores),
        losses=folder / "pretrain" / "figures" / "losses.png",
        reconstruction=newest(folder / "reconstruction", "*.png"),
        sheet=folder / "labelled.png",
        settings="",
    )


def answer(scores: Scores, unlabelled: int, labelled: int) -> str:
    """Describes what pre-training gains, on how many labels and seeds, and the limits of the data."""
    scratch, tuned, pixels = (mean(scores[name]) for name in (FROM_SCRATCH, FINE_TUNED, PIXELS))
    gains = gains_over_scratch(scores, FINE_TUNED)
    return (
        f"Pre-training on {unlabelled:,} unlabelled clips changes the test UAR of fine-tuning with "
        f"{labelled:,} labelled clips by {mean(gains):+.1f} points, from {scratch:.1f} to {tuned:.1f} "
        f"percent ({len(gains)} seeds, {min(gains):+.1f} at the worst), on synthetic faces. Logistic "
        f"regression on pixels reaches {pixels:.1f} percent there: this shows that the tool works, not how "
        "well it does on real faces."
    )


def describe_results(scores: Scores) -> str:
    """Formats the table for the screen."""
    tuned, probed = (gains_over_scratch(scores, name) for name in (FINE_TUNED, ATTENTIVE_PROBE))
    data = f"{LABELS_PER_CLASS} labels per class, synthetic test identities (chance {CHANCE:.1f})"
    return (
        f"UAR in percent, {data}\n"
        f"{score_table(scores).as_text()}\n"
        f"Pre-training changes fine-tuning by {mean(tuned):+.1f} points ({min(tuned):+.1f} at the worst "
        "seed). An attentive probe of the frozen encoder differs from training from scratch by "
        f"{mean(probed):+.1f} points ({min(probed):+.1f})."
    )


def score_table(scores: Scores) -> Table:
    """Returns mean, standard deviation and seeds of each row."""
    seeds = max(map(len, scores.values()))
    rows = [
        (name, format_spread(values), *(f"{value:.1f}" for value in values), *[""] * (seeds - len(values)))
        for name, values in scores.items()
    ]
    return Table(rows, ["UAR (%)", "mean ± std", *(f"seed {seed}" for seed in range(seeds))])


def gains_over_scratch(scores: Scores, name: str) -> list[float]:
    """Returns the difference of a row to training from scratch, in points for each seed."""
    return [after - before for after, before in zip(scores[name], scores[FROM_SCRATCH], strict=True)]


def format_spread(values: Sequence[float]) -> str:
    """Formats the mean and the sample standard deviation over seeds."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{mean(values):.1f}"


def draw_chart(path: Path, scores: Scores) -> None:
    """Draws the mean of each row as a bar, its seeds as points, and its standard deviation as a whisker."""
    figure = Figure(figsize=(8.2, 3.1), layout="constrained")
    axis = figure.subplots()
    for place, (name, values) in enumerate(scores.items()):
        without_encoder = name in (*ROWS_FROM_SCRATCH, PIXELS)
        axis.barh(place, mean(values), height=0.62, color="0.75" if without_encoder else "C0")
        if len(values) > 1:
            axis.errorbar(mean(values), place, xerr=stdev(values), color="0.2", capsize=3, linewidth=1)
            axis.plot(values, [place] * len(values), "o", color="white", markeredgecolor="0.2", markersize=4)
        axis.annotate(format_spread(values), (101, place), va="center", fontsize=9, annotation_clip=False)
    axis.axvline(CHANCE, color="0.3", linestyle=":", linewidth=1)
    axis.annotate("chance", (CHANCE, -0.68), color="0.3", fontsize=8, ha="center", annotation_clip=False)
    axis.set_yticks(range(len(scores)), list(scores), fontsize=9)
    axis.set(xlim=(0, 100), xlabel="UAR (%) on people not seen in training")
    axis.invert_yaxis()
    seeds = len(scores[FINE_TUNED])
    title = "Pretrained encoder (blue) or none (grey)"
    save_figure(figure, path, f"{title}: {LABELS_PER_CLASS} labels per class, {seeds} seeds, synthetic faces")
