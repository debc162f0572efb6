"""Draws the figures of a pre-training run: reconstructed clips and loss curves.

matplotlib is used through its object interface, which needs neither a display nor global state.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from maedfer.evaluation.reconstruction import HEADS
from maedfer.models.pictures import Reconstruction

MAX_FRAMES = 8
"""Frames shown of a clip, one per tubelet; more would be too small to see."""

ROW_FRAMES = 12
"""Frames shown side by side; short clips share a row."""


Columns = dict[str, list[float]]
"""The columns of a table of numbers by name."""


def to_strip(frames: Tensor) -> Tensor:
    """Arranges at most `MAX_FRAMES` frames of (3, T, H, W) side by side: (H, T*W, 3) in 0..1."""
    keep = torch.linspace(0, frames.shape[1] - 1, min(MAX_FRAMES, frames.shape[1])).round().long()
    return rearrange(frames[:, keep].float().cpu().clamp(0, 1), "c t h w -> h (t w) c")


def draw_reconstructions(path: Path, pictures: Reconstruction, title: str) -> None:
    """Draws five strips per clip: input, masked input, predicted appearance, true motion, predicted motion.

    Args:
        path: PNG file.
        pictures: reconstructions of B clips.
        title: line above the picture.
    """
    tubelet = pictures.original.shape[2] // pictures.appearance.shape[2]
    videos = {
        "input": pictures.appearance_original,
        "masked input": pictures.masked_input[:, :, ::tubelet],
        "predicted": pictures.appearance,
        "true motion": pictures.motion_original,
        "predicted motion": pictures.motion,
    }
    strips = torch.stack([torch.stack([to_strip(clip) for clip in video]) for video in videos.values()])
    _, clips, side, width, _ = strips.shape
    columns = min(max(ROW_FRAMES * side // width, 1), clips)
    gap = side // 12
    # White below each strip, on the right of it, and in place of clips that do not fill the last row.
    padded = F.pad(strips, (0, 0, 0, gap, 0, gap, 0, -clips % columns), value=1.0)
    blocks = rearrange(padded, "strip (row clip) h w c -> row (strip h) (clip w) c", clip=columns)
    height, width = blocks.shape[1:3]
    figure = Figure(figsize=(9, 7.7 * len(blocks) * height / width + 0.4), layout="constrained")
    for axis, block in zip(figure.subplots(len(blocks), squeeze=False)[:, 0], blocks, strict=True):
        axis.imshow(block.numpy(), interpolation="nearest")
        centres = [(row + 0.5) * height / len(videos) - gap / 2 for row in range(len(videos))]
        axis.set_yticks(centres, list(videos), fontsize=9)
        axis.tick_params(length=0)
        axis.set_xticks([])
        axis.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV file; returns none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_table(path: Path) -> Columns:
    """Reads the columns of a CSV file of numbers, with NaN for empty cells; returns none without a file."""
    rows = read_rows(path)
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]} if rows else {}


def smooth(values: Sequence[float], window: int) -> Tensor:
    """Returns the running mean over the last `window` values, without NaN and infinities (skipped steps)."""
    series = torch.tensor(values, dtype=torch.float64)
    known = series.isfinite()
    total, count = (F.pad(row.cumsum(0), (1, 0)) for row in (series.where(known, 0), known.double()))
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    return (total[ends] - total[starts]) / (count[ends] - count[starts])


def plot_loss(axis: Axes, training: Columns, held_out: Columns, loss: str, held_out_loss: str) -> None:
    """Plots the training loss of every step, its running mean, and the loss of held-out clips.

    Args:
        axis: changed in place.
        training: columns of `metrics.csv`.
        held_out: columns of a table of held-out scores; empty without one.
        loss: column of the training loss.
        held_out_loss: column of the held-out loss; nothing is plotted without it.
    """
    steps, losses = training["step"], training[loss]
    axis.plot(steps, losses, color="0.85", linewidth=0.8)
    axis.plot(steps, smooth(losses, max(len(losses) // 50, 1)), color="C0", label="training")
    if held_out_loss in held_out:
        axis.plot(held_out["step"], held_out[held_out_loss], "o-", color="C1", markersize=3, label="held out")


def draw_loss_curves(path: Path, metrics: Columns, held_out: Columns, title: str) -> None:
    """Draws the training loss of each head, its held-out error, and the two baselines as lines."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, head in zip(figure.subplots(1, 2, squeeze=True), HEADS, strict=True):
        plot_loss(axis, metrics, held_out, f"loss_{head}", f"{head}_model")
        if held_out:
            for baseline, style in (("zero", ":"), ("position_mean", "--")):
                level = held_out[f"{head}_{baseline}"][-1]
                axis.axhline(
                    level, color="0.3", linestyle=style, linewidth=1, label=baseline.replace("_", " ")
                )
        axis.set(title=head, xlabel="step", ylabel="error per target value")
        axis.legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def draw_curves(run: Path, folder: Path, synthetic: bool) -> None:
    """Draws the curves of a run folder that has a table of losses."""
    metrics = read_table(run / "metrics.csv")
    if metrics:
        folder.mkdir(parents=True, exist_ok=True)
        title = "synthetic faces" if synthetic else ""
        draw_loss_curves(folder / "losses.png", metrics, read_table(run / "held_out.csv"), title)
