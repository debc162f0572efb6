"""What rides along with a run: tables, speed, pictures, held-out errors or scores, the bar, and checkpoints.

The order is that in which a step needs them: records before checkpoints, the speed before what shows it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from maedfer.runs.folder import RunFolder
from maedfer.training.run.interruption import validation_follows
from maedfer.training.run.non_finite import NonFiniteLoss
from maedfer.training.run.progress import ProgressLines, RunProgress
from maedfer.training.run.records import KeyRecorder, MetricsFile
from maedfer.training.run.throughput import Throughput


def records(folder: RunFolder, config: Any, columns: Sequence[str]) -> list[Callback]:
    """What is written down of every step: losses, clips when that is asked for, and steps left out."""
    keys = [KeyRecorder(folder.path)] if config.data.record_keys else []
    return [
        MetricsFile(folder.path, columns),
        *keys,
        NonFiniteLoss(folder.path, config.stop_after_skipped),
    ]


def progress(folder: RunFolder, config: Any) -> list[Callback]:
    """The speed, and the bar unless it is switched off."""
    throughput = Throughput(folder.path)
    bar = [] if config.trainer.enable_progress_bar is False else [RunProgress(throughput)]
    return [throughput, *bar, ProgressLines(throughput)]


class LastCheckpoint(ModelCheckpoint):
    """A checkpoint every so many steps; one that is due where a validation follows waits for its end.

    Lightning does not make up for a validation that was cut off, nor would a checkpoint from before it know
    that the best value so far came out of it. It has to stand behind `best_checkpoint` for that.

    None is written after a step that was left out: when the weights themselves have gone bad, the checkpoint
    from before stays.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation comes first."""
        if not pl_module.left_out and not validation_follows(trainer):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what waited."""
        if not pl_module.left_out:
            super().on_train_batch_end(trainer, pl_module, None, None, 0)


def last_checkpoint(folder: RunFolder, every: int) -> ModelCheckpoint:
    """`checkpoints/last.ckpt`, replaced every so many steps; written aside and renamed, so a kill leaves the
    old.
    """
    return LastCheckpoint(
        folder.checkpoints,
        filename="last",
        every_n_train_steps=every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


class BestCheckpoint(ModelCheckpoint):
    """The checkpoint of the best held-out value so far.

    In a run folder that was moved, Lightning would forget that value, and let the next one replace the
    checkpoint whatever it is.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state for that of the folder as it is now."""
        here = {name: str(Path(self.dirpath, Path(name).name)) for name in state_dict["best_k_models"]}
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": here.get(state_dict["best_model_path"], ""),
            "kth_best_model_path": here.get(state_dict["kth_best_model_path"], ""),
            "best_k_models": {here[name]: value for name, value in state_dict["best_k_models"].items()},
        }
        super().load_state_dict({**state_dict, **moved})


def best_checkpoint(folder: RunFolder, monitor: str, mode: Literal["min", "max"]) -> ModelCheckpoint:
    """`checkpoints/best.ckpt`: the best held-out value; nothing without held-out clips."""
    return BestCheckpoint(
        folder.checkpoints,
        filename="best",
        monitor=monitor,
        mode=mode,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
