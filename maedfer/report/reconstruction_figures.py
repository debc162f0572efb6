"""Figures of a pre-training run: reconstructed clips and loss curves.

matplotlib is used through its object interface, so no display and no global state is needed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.figure import Figure
from torch import Tensor

from maedfer.evaluation.reconstruction import HEADS
from maedfer.models.pictures import Reconstruction

MAX_FRAMES = 8
"""Tubelets shown of a clip; more would be too small to see."""


def strip(frames: Tensor) -> Tensor:
    """Frames (3, T, H, W) side by side as a picture (H, T*W, 3), at most `MAX_FRAMES` of them, in 0..1."""
    keep = torch.linspace(0, frames.shape[1] - 1, min(MAX_FRAMES, frames.shape[1])).round().long()
    return rearrange(frames[:, keep].float().cpu().clamp(0, 1), "c t h w -> h (t w) c")


def draw_reconstructions(path: Path, pictures: Reconstruction, title: str) -> None:
    """One block of five strips a clip: input, masked input, predicted appearance, true motion, predicted
    motion.

    Args:
        path: PNG file.
        pictures: what `MaskedAutoencoder.reconstruct` gives, for B clips.
        title: line above the picture.
    """
    tubelet = pictures.original.shape[2] // pictures.appearance.shape[2]
    rows = {
        "input": pictures.appearance_original,
        "masked": pictures.masked_input[:, :, ::tubelet],
        "appearance": pictures.appearance,
        "true motion": pictures.motion_original,
        "motion": pictures.motion,
    }
    clips = len(pictures.appearance)
    figure = Figure(figsize=(9, 1.14 * len(rows) * clips + 0.5), layout="constrained")
    axes = figure.subplots(len(rows) * clips, 1, squeeze=False)[:, 0]
    for clip in range(clips):
        for row, (name, frames) in enumerate(rows.items()):
            axis = axes[clip * len(rows) + row]
            axis.imshow(strip(frames[clip]).numpy(), interpolation="nearest", aspect="equal")
            axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def read_table(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV file of numbers, NaN in an empty cell; empty when there is none."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]} if rows else {}


def smooth(values: Sequence[float], window: int) -> Tensor:
    """Running mean over the last `window` values, those that are no numbers (of steps left out) aside."""
    given = torch.tensor(values, dtype=torch.float64)
    known = given.isfinite()
    total, count = (F.pad(row.cumsum(0), (1, 0)) for row in (given.where(known, 0), known.double()))
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    return (total[ends] - total[starts]) / (count[ends] - count[starts])


def draw_loss_curves(
    path: Path, metrics: dict[str, list[float]], held_out: dict[str, list[float]], title: str
) -> None:
    """Loss of each head in training, its held-out error, and the two baselines as lines."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, head in zip(figure.subplots(1, 2, squeeze=True), HEADS, strict=True):
        losses = metrics[f"loss_{head}"]
        axis.plot(metrics["step"], losses, color="0.85", linewidth=0.8)
        axis.plot(metrics["step"], smooth(losses, max(len(losses) // 50, 1)), color="C0", label="training")
        if held_out:
            axis.plot(held_out["step"], held_out[f"{head}_model"], "o-", color="C1", ms=3, label="held out")
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
    """Draw the curves of a run folder, if it has a table of losses yet."""
    metrics = read_table(run / "metrics.csv")
    if metrics:
        folder.mkdir(parents=True, exist_ok=True)
        title = "synthetic faces" if synthetic else ""
        draw_loss_curves(folder / "losses.png", metrics, read_table(run / "held_out.csv"), title)
