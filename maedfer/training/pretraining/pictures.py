"""Pictures of a pre-training run: reconstructions of the same few clips as it goes, and the loss curves.

matplotlib is used through its object interface, so no display and no global state is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from maedfer.data.loading.batch import ClipBatch
from maedfer.report.reconstruction_figures import (
    draw_curves,
    draw_reconstructions,
)
from maedfer.training.distributed.zero_strategy import split_parameters, whole_parameters


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
        self._batch: ClipBatch | None = None
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
            pictures = module.mae.reconstruct(module.clips(batch), batch.masks)
        module.train(was_training)
        if not trainer.is_global_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        kind = "synthetic faces, " if trainer.datamodule.is_synthetic else ""
        title = f"{kind}step {self._drawn} (mean and contrast of masked patches are the true ones)"
        draw_reconstructions(self._folder / f"reconstruction_{self._drawn:07d}.png", pictures, title)
        if self._run is not None:
            draw_curves(self._run, self._folder, trainer.datamodule.is_synthetic)
