"""Draws the pictures of a pre-training run: reconstructions of the same few clips, and the loss curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from maedfer.data.loading.batch import ClipBatch
from maedfer.lightning_internals import datamodule_of
from maedfer.report.reconstruction_figures import draw_curves, draw_reconstructions
from maedfer.training.distributed.zero_strategy import split_parameters, whole_parameters
from maedfer.training.pretraining.module import MaskedPretraining


class ReconstructionPictures(Callback):
    """Draws `figures/` at an interval and at the end, always of the same clips with the same masks.

    Args:
        folder: folder of the PNG files.
        run: run folder with the tables of the curves; None draws no curves.
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
        """Draws after each `every` steps."""
        step = trainer.global_step
        if self._every and step % self._every == 0 and step != self._drawn:
            self.draw(trainer, cast(MaskedPretraining, pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the last state."""
        if trainer.global_step != self._drawn:
            self.draw(trainer, cast(MaskedPretraining, pl_module))

    def draw(self, trainer: Trainer, module: MaskedPretraining, step: int | None = None) -> None:
        """Draws both pictures of a step, by default the trainer's; only the first rank writes.

        Where ZeRO 3 splits the parameters, every rank computes, because each holds a part of them.
        """
        self._drawn = trainer.global_step if step is None else step
        if not trainer.is_global_zero and not split_parameters(module):
            return
        data = datamodule_of(trainer)
        if self._batch is None:
            self._batch = data.picture_batch(self._clips)
        batch = module.transfer_batch_to_device(self._batch, module.device, 0)
        was_training = module.training
        module.eval()
        with whole_parameters(module), torch.no_grad():
            pictures = module.mae.reconstruct(module.clips(batch), batch.masks)
        module.train(was_training)
        if not trainer.is_global_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        kind = "synthetic faces, " if data.is_synthetic else ""
        title = f"{kind}step {self._drawn} (mean and contrast of masked patches are the true ones)"
        draw_reconstructions(self._folder / f"reconstruction_{self._drawn:07d}.png", pictures, title)
        if self._run is not None:
            draw_curves(self._run, self._folder, data.is_synthetic)
