"""Scores of held-out clips while a run goes on: gathered over ranks, counted against the index, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from maedfer.data.labels.subsets import Subset
from maedfer.evaluation.predictions import Predictions, check_counted
from maedfer.evaluation.scores import scores
from maedfer.training.finetuning.collector import PredictionCollector
from maedfer.training.run.records import StepTable
from maedfer.training.run.screen import say


class Scoring(Callback):
    """Collects predictions of validation and test passes; each of the former adds a row to `validation.csv`.

    Every sample must come out once, whatever the number of ranks. One that cannot be decoded is left out and
    named by the loader, which stops at more than `--data.max_broken_share` of them.

    Args:
        path: the table of validation scores; None writes none.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._collector, self._unreadable = PredictionCollector(), set[str]()
        self.predictions: dict[str, Predictions] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start anew."""
        self._collector, self._unreadable = PredictionCollector(), set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the predictions of a batch."""
        self._collector.add(**outputs)
        self._unreadable.update(name for name, _ in batch.broken)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score, log for the choice of the best epoch, and write a row."""
        predictions = self._gather(trainer, pl_module, trainer.datamodule.subset("val"))
        self.predictions["val"] = predictions
        values = scores(predictions)
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()}, rank_zero_only=True)
        if self._path is None or not trainer.is_global_zero or trainer.state.fn != TrainerFn.FITTING:
            return  # the table is that of the training; a pass after it has the chosen weights
        step, columns = trainer.global_step, ("step", "epoch", *values)
        table = StepTable(self._path, columns, step - 1)
        table.append({"step": step, "epoch": trainer.current_epoch, **values})
        table.close()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the predictions for whoever asked for the test."""
        self.predictions["test"] = self._gather(trainer, pl_module, trainer.datamodule.subset("test"))

    def _gather(self, trainer: Trainer, module: LightningModule, part: Subset) -> Predictions:
        keys, outputs, targets = self._collector.gather(trainer)
        predictions = Predictions(keys, outputs, targets, module.outputs, module.task)
        unreadable = torch.tensor(float(len(self._unreadable)), device=module.device)
        left_out = int(trainer.strategy.reduce(unreadable, reduce_op="sum"))
        check_counted(predictions, part.keys, left_out)
        if left_out:
            say(f"{left_out} of {len(part)} samples cannot be decoded and are not scored")
        return predictions
