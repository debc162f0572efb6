"""Scores held-out clips during a run: gathers predictions over ranks, checks their number, writes a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch.distributed
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from maedfer.data.labels.subsets import Subset
from maedfer.data.loading.batch import ClipBatch
from maedfer.evaluation.predictions import Predictions, check_counted
from maedfer.evaluation.scores import scores
from maedfer.lightning_internals import datamodule_of
from maedfer.training.finetuning.module import FineTuning, PredictedBatch
from maedfer.training.run.records import StepTable
from maedfer.training.run.screen import print_rank_zero


class PredictionCollector:
    """Collects the predictions of this rank; `gather` returns those of all ranks."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._outputs: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def add(self, batch: PredictedBatch) -> None:
        """Adds the valid samples of a batch."""
        kept = batch["valid"].cpu()
        self._keys += [key for key, is_kept in zip(batch["keys"], kept.tolist(), strict=True) if is_kept]
        self._outputs.append(batch["outputs"].detach().cpu().double()[kept].numpy())
        self._targets.append(batch["targets"].detach().cpu().double()[kept].numpy())

    def gather(self, trainer: Trainer) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Returns keys, outputs (n, K) and targets (n, K) of all ranks, sorted by key; call it on every rank.

        Repeats that are not marked as such are kept; `check_counted` finds them.
        """
        batches = self._outputs, self._targets
        own_outputs, own_targets = (np.concatenate(rows) if rows else np.empty((0, 0)) for rows in batches)
        own = (self._keys, own_outputs, own_targets)
        parts = [own]
        if trainer.world_size > 1:
            parts = [own] * trainer.world_size
            torch.distributed.all_gather_object(parts, own)
        filled = [part for part in parts if part[0]] or [own]
        keys = [key for part in filled for key in part[0]]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        outputs, targets = (np.concatenate([part[i] for part in filled]) for i in (1, 2))
        return [keys[i] for i in order], outputs[order], targets[order]


class Scoring(Callback):
    """Collects the predictions of validation and test passes; a validation adds a row to `validation.csv`.

    Every sample must be predicted exactly once, on any number of ranks. The loader names samples that cannot
    be decoded and leaves them out, up to its `max_broken_share`.

    Args:
        path: table of validation scores; None writes none.

    Attributes:
        predictions: those of the last pass, by `val` and `test`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._collector, self._unreadable = PredictionCollector(), set[str]()
        self.predictions: dict[str, Predictions] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops the predictions of the previous pass."""
        self._collector, self._unreadable = PredictionCollector(), set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects the predictions of a batch."""
        self._collector.add(outputs)
        self._unreadable.update(name for name, _ in batch.broken)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the scores, which select the best epoch, and writes a row."""
        predictions = self._gather(trainer, cast(FineTuning, pl_module), datamodule_of(trainer).subset("val"))
        self.predictions["val"] = predictions
        values = scores(predictions)
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()}, rank_zero_only=True)
        if self._path is None or not trainer.is_global_zero or trainer.state.fn != TrainerFn.FITTING:
            return  # a pass after the training has the weights of the best epoch
        step, columns = trainer.global_step, ("step", "epoch", *values)
        table = StepTable(self._path, columns, step - 1)
        table.append({"step": step, "epoch": trainer.current_epoch, **values})
        table.close()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the predictions of the test."""
        part = datamodule_of(trainer).subset("test")
        self.predictions["test"] = self._gather(trainer, cast(FineTuning, pl_module), part)

    def _gather(self, trainer: Trainer, module: FineTuning, part: Subset) -> Predictions:
        keys, outputs, targets = self._collector.gather(trainer)
        predictions = Predictions(keys, outputs, targets, names=module.outputs, task=module.task)
        unreadable = torch.tensor(float(len(self._unreadable)), device=module.device)
        left_out = int(trainer.strategy.reduce(unreadable, reduce_op="sum"))
        check_counted(predictions, part.keys, left_out)
        if left_out:
            print_rank_zero(f"{left_out} of {len(part)} samples cannot be decoded and are not scored")
        return predictions
