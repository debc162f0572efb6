"""What rides along with a pre-training run: tables, pictures, held-out errors, the bar, and checkpoints."""

from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint

from maedfer.training.held_out import HeldOutEvaluation
from maedfer.training.interruption import CheckpointOnSignal
from maedfer.training.pictures import ReconstructionPictures
from maedfer.training.progress import RunProgress
from maedfer.training.run_folder import RunFolder
from maedfer.training.run_records import KeyRecorder, MetricsFile


def pretraining_callbacks(folder: RunFolder, config: Any) -> list[Callback]:
    """The callbacks of `maedfer pretrain`, in the order in which a step needs them: records before
    checkpoints.

    Args:
        folder: the run folder.
        config: the parsed configuration; `checkpoint_every`, `picture_every` and `data.record_keys` are read.
    """
    callbacks = [MetricsFile(folder.path)]
    if config.data.record_keys:
        callbacks.append(KeyRecorder(folder.path))
    return [
        *callbacks,
        HeldOutEvaluation(folder.path / "held_out.csv"),
        ReconstructionPictures(folder.figures, folder.path, config.picture_every),
        *([] if config.trainer.enable_progress_bar is False else [RunProgress()]),
        CheckpointOnSignal(folder.last),
        last_checkpoint(folder, config.checkpoint_every),
        best_checkpoint(folder),
    ]


def last_checkpoint(folder: RunFolder, every: int) -> ModelCheckpoint:
    """`checkpoints/last.ckpt`, replaced every so many steps; written aside and renamed, so a kill leaves the
    old.
    """
    return ModelCheckpoint(
        folder.checkpoints,
        filename="last",
        every_n_train_steps=every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def best_checkpoint(folder: RunFolder) -> ModelCheckpoint:
    """`checkpoints/best.ckpt`: lowest held-out error; nothing without a held-out split."""
    return ModelCheckpoint(
        folder.checkpoints,
        filename="best",
        monitor="held_out/total_model",
        mode="min",
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
