"""Measures the held-out reconstruction error of each head, beside two baselines.

Zero predicts the mean of the normalised channel. Position mean predicts for every token position the mean
target of the training clips there, which is strong on aligned faces. Both are evaluated on the same masked
tokens. A model that ends at the position mean has learnt where faces are, not how they move.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from tqdm import tqdm

from maedfer.evaluation.reconstruction import HeldOutErrors, PositionMean, held_out_columns
from maedfer.lightning_internals import datamodule_of
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.run.records import StepTable


class HeldOutEvaluation(Callback):
    """Measures the position mean before the first evaluation, and adds a row to `held_out.csv` after each.

    Args:
        path: the CSV file; None writes none, and leaves the errors in `latest`.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._table: StepTable | None = None
        self._sums: HeldOutErrors | None = None
        self.position_mean = PositionMean()
        self.latest: dict[str, float | None] = {}
        self.step = -1

    def state_dict(self) -> dict[str, Any]:
        """Returns the position mean for the checkpoint."""
        return self.position_mean.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the position mean."""
        self.position_mean.load_state_dict(state_dict)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Resets the sums."""
        if not self.position_mean.is_measured:
            self._measure(trainer, cast(MaskedPretraining, pl_module))
        self.position_mean.to(pl_module.device)
        encoder = cast(MaskedPretraining, pl_module).mae.encoder
        self._sums = HeldOutErrors(pl_module.device, encoder.patch_size, encoder.in_chans)

    def _measure(self, trainer: Trainer, module: MaskedPretraining) -> None:
        """Measures the position mean; every rank reads the same training clips, so nothing is reduced."""
        batches = datamodule_of(trainer).baseline_dataloader()
        hidden = not trainer.is_global_zero
        for batch in tqdm(batches, "measuring the position mean", unit="batch", leave=False, disable=hidden):
            batch = module.transfer_batch_to_device(batch, module.device, 0)
            self.position_mean.add(module.all_targets(module.clips(batch)))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds the clips of a batch that are not padding."""
        kept = outputs["valid"]
        mean = self.position_mean.at(outputs["masked"])
        assert self._sums is not None
        self._sums.add(outputs["prediction"][kept], outputs["target"][kept], mean[kept])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sums over ranks, logs, and writes a row."""
        assert self._sums is not None
        sums = trainer.strategy.reduce(self._sums.as_tensor(), reduce_op="sum")
        self.latest = HeldOutErrors.summary(sums, cast(MaskedPretraining, pl_module).mae.appearance_weight)
        self.step = trainer.global_step
        if not self.latest:
            return
        found = {f"held_out/{name}": value for name, value in self.latest.items() if value is not None}
        pl_module.log_dict(found, rank_zero_only=True)
        if self._path is None or not trainer.is_global_zero:
            return
        table = StepTable(self._path, held_out_columns(), trainer.global_step - 1)
        table.append({"step": trainer.global_step, **self.latest})
        table.close()
