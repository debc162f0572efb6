"""The figure of the loader bench: clips per second of each way, and memory over the clips read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.result import Row, new_figure

COLOURS = {"plain": "#b0b0b0", "jpeg": "#4878a8", "h264": "#c07840"}


def draw_loader(path: Path, title: str, rates: Sequence[Row], memory: Sequence[Row]) -> None:
    """Bars of clips per second and core with their ratios, one panel per number of workers, and memory below.

    Args:
        path: PNG file.
        title: line above all.
        rates: rows of the table of rates.
        memory: rows of the memory of processes; none leave that panel out.
    """
    numbers = sorted({row["workers"] for row in rates})
    figure = new_figure(11.0, 7.0 if memory else 4.0)
    figure.suptitle(title, fontsize=10)
    upper, lower = (*figure.subfigures(2, 1, height_ratios=(5, 4)),) if memory else (figure, None)
    axes = upper.subplots(1, len(numbers), squeeze=False, sharex=True, sharey=True)[0]
    for axis, workers in zip(axes, numbers, strict=True):
        _bars(axis, [row for row in rates if row["workers"] == workers and "core_ratio" in row], workers)
    axes[0].invert_yaxis()
    if lower is not None:
        _lines(lower.subplots(), memory)
    figure.savefig(path)


def _bars(axis: Axes, rows: Sequence[Row], workers: int) -> None:
    """Where the time on a core is not known, bars are of seconds by the clock."""
    known = all(row["per_core"] is not None for row in rows)
    kind, ratio = ("per_core", "core_ratio") if known else ("per_second", "second_ratio")
    colours = [COLOURS[row["way"].partition(",")[0]] for row in rows]
    bars = axis.barh([row["way"] for row in rows], [row[kind] for row in rows], color=colours)
    axis.bar_label(bars, labels=[f"{row[kind]:,.0f} ({row[ratio]:.1f}x)" for row in rows], padding=3)
    axis.margins(x=0.25)
    axis.set_xlabel(f"clips per second{' and core' if known else ''}")
    place = f"{workers} worker{'s' * (workers > 1)}" if workers else "in one process"
    axis.set_title(place, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)


def _lines(axis: Axes, memory: Sequence[Row]) -> None:
    for row in memory:
        points, worker = row["points"], row["process"] == "worker"
        label, style = f"{row['shards']}, {row['process']}", "-" if worker else ":"
        axis.plot(points["clips"], points["rss"], style, color=COLOURS[row["shards"]], label=label)
    axis.set_ylim(bottom=0)
    axis.set(xlabel="clips read by one worker", ylabel="resident memory (MiB)")
    axis.legend(fontsize=8, ncols=2)
    axis.spines[["top", "right"]].set_visible(False)
