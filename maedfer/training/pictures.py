"""Pictures of a pre-training run: reconstructions of the same few clips as it goes, and the loss curves.

matplotlib is used through its object interface, so no display and no global state is needed.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from maedfer.models.pictures import Reconstruction
from maedfer.training.held_out import HEADS
from maedfer.training.zero_strategy import split_parameters, whole_parameters

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


class ReconstructionPictures(Callback):
    """Draws `figures/` every so many steps and at the end, always of the same clips with the same masks.

    Args:
        folder: where the PNG files go.
        run: run folder with the tables to draw; None leaves the curves out.
        every: steps between pictures; 0 draws at the end only.
        clips: clips shown.
    """

    def __init__(self, folder: Path, run: Path | None, every: int, clips: int = 3) -> None:
        self._folder, self._run, self._every, self._clips = folder, run, every, clips
        self._batch: dict[str, Any] | None = None
        self._drawn = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw when a step that is asked for has been done."""
        step = trainer.global_step
        if self._every and step % self._every == 0 and step != self._drawn:
            self.draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        if trainer.global_step != self._drawn:
            self.draw(trainer, pl_module)

    def draw(self, trainer: Trainer, module: LightningModule, step: int | None = None) -> None:
        """Draw both pictures of a step, by default the trainer's; only the first rank writes.

        Where ZeRO 3 splits the parameters, every rank computes, because each holds a part of them.
        """
        self._drawn = trainer.global_step if step is None else step
        if not trainer.is_global_zero and not split_parameters(module):
            return
        if self._batch is None:
            self._batch = trainer.datamodule.picture_batch(self._clips)
        batch = module.transfer_batch_to_device(self._batch, module.device, 0)
        was_training = module.training
        module.eval()
        with whole_parameters(module), torch.no_grad():
            pictures = module.mae.reconstruct(module.clips(batch), batch["masks"])
        module.train(was_training)
        if not trainer.is_global_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        kind = "synthetic faces, " if trainer.datamodule.is_synthetic else ""
        title = f"{kind}step {self._drawn} (mean and contrast of masked patches are the true ones)"
        draw_reconstructions(self._folder / f"reconstruction_{self._drawn:07d}.png", pictures, title)
        if self._run is not None:
            draw_curves(self._run, self._folder, trainer.datamodule.is_synthetic)
