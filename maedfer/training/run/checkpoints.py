"""Writes the checkpoints of a run: the last one, the best one, and the position that both hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from maedfer.errors import UserError
from maedfer.lightning_internals import datamodule_of, rank_before_fit, validation_follows
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.zero_checkpoint import before, repair_checkpoint
from maedfer.training.distributed.zero_strategy import check_same_strategy
from maedfer.training.run.screen import print_rank_zero

OWN = "maedfer"
"""Key of what this package keeps in a checkpoint: `position` in the data, and the number of `ranks`."""


class PositionInCheckpoint(Callback):
    """Keeps the position of the data module in checkpoints, under a key that no renamed class changes."""

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Moves the state of the data module, which Lightning has saved under the name of its class."""
        position = checkpoint.pop(type(datamodule_of(trainer)).__qualname__)
        checkpoint[OWN] = {"position": position, "ranks": trainer.world_size}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores the position."""
        datamodule_of(trainer).load_state_dict(own_part(checkpoint)["position"])


def own_part(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what this package keeps in a checkpoint, `position` and `ranks`.

    In checkpoints of maedfer 0.1 the position has the name of the class of its data module.

    Raises:
        KeyError: there is neither.
    """
    if OWN in checkpoint:
        own: Mapping[str, Any] = checkpoint[OWN]
        return own
    position = checkpoint.get("ClipDataModule") or checkpoint["LabelledDataModule"]
    return {"position": position, "ranks": position["cursor"]["legs"][-1][0]}


def checkpoint_to_resume(folder: RunFolder, resume: bool, trainer: Trainer) -> Path | None:
    """Returns the checkpoint that a run continues from; None starts at step 0.

    Args:
        folder: the run folder; later ranks may see one that the first has begun to fill.
        resume: whether the run is to be continued.
        trainer: of the run.

    Raises:
        UserError: the folder already holds a run, or something else; the checkpoint is of another strategy.
    """
    if rank_before_fit() != 0:
        # In this order: the first rank may be renaming the one to the other just now.
        there = before(folder.last).exists() or folder.last.exists()
        return folder.last if resume and there else None
    if resume:  # after a kill in the middle of writing one
        for path in (folder.last, folder.best):
            repair_checkpoint(path)
    checkpoint = folder.checkpoint_to_resume(resume)
    if checkpoint is not None:
        check_same_strategy(checkpoint, trainer)
    elif resume:
        print_rank_zero(f"warning: --resume finds no checkpoint in {folder.path}: starting from step 0")
    return checkpoint


class LastCheckpoint(ModelCheckpoint):
    """Writes a checkpoint every few steps; where a validation follows the step, after the validation.

    Lightning does not repeat a validation that a kill cut off, and a checkpoint from before it would not hold
    the best value so far.

    No checkpoint follows a skipped step: if the weights themselves have become NaN, the checkpoint before
    stays.

    Args:
        folder: the run folder.
        every: steps between checkpoints; 0 for none before the end.

    Raises:
        UserError: `every` is negative.
    """

    def __init__(self, folder: RunFolder, every: int) -> None:
        if every < 0:
            raise UserError("checkpoint_every", f"{every} is negative; 0 writes a checkpoint at the end only")
        super().__init__(
            folder.checkpoints,
            filename="last",
            every_n_train_steps=every,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves, unless a validation comes first."""
        if not pl_module.is_skipped and not validation_follows(trainer):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what was due before the validation."""
        if not pl_module.is_skipped:
            super().on_train_batch_end(trainer, pl_module, None, None, 0)


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint of the best held-out value so far, also in a run folder that was moved.

    Lightning forgets that value when the path has changed, and replaces the checkpoint with the next one.

    Args:
        folder: the run folder.
        monitor: logged value; without held-out clips nothing is logged or written.
        mode: whether the lowest or the highest is best.
    """

    def __init__(self, folder: RunFolder, monitor: str, mode: Literal["min", "max"]) -> None:
        super().__init__(
            folder.checkpoints,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the state with the paths of the folder as it is now."""
        folder = Path(self.dirpath or "")
        here = {name: str(folder / Path(name).name) for name in state_dict["best_k_models"]}
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": here.get(state_dict["best_model_path"], ""),
            "kth_best_model_path": here.get(state_dict["kth_best_model_path"], ""),
            "best_k_models": {here[name]: value for name, value in state_dict["best_k_models"].items()},
        }
        super().load_state_dict({**state_dict, **moved})
