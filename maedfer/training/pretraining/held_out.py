"""Held-out reconstruction error of each head, beside the two baselines that a loss curve alone hides.

Two predictors stand beside the model. Zero predicts the mean of the normalised channel. Position mean
predicts for every token position the mean target of the training clips there; on aligned faces this is
strong. Both are evaluated on the same masked tokens. A trained model that ends at the position mean has
learnt where faces are, not how they move.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from tqdm import tqdm

from maedfer.evaluation.reconstruction import (
    HeldOutErrors,
    PositionMean,
    held_out_columns,
)
from maedfer.training.run.records import StepTable


class HeldOutEvaluation(Callback):
    """Measures the position mean before the first evaluation, then fills `held_out.csv` after each.

    Args:
        path: the CSV file; None keeps the errors in `latest` only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._table: StepTable | None = None
        self._sums: HeldOutErrors | None = None
        self.position_mean = PositionMean()
        self.latest: dict[str, float | None] = {}
        self.step = -1

    def state_dict(self) -> dict[str, Any]:
        """Saved in the checkpoint by Lightning."""
        return self.position_mean.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restored by Lightning on resume."""
        self.position_mean.load_state_dict(state_dict)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the sums anew."""
        if not self.position_mean.is_measured:
            self._measure(trainer, pl_module)
        self.position_mean.to(pl_module.device)
        encoder = pl_module.mae.encoder
        self._sums = HeldOutErrors(pl_module.device, encoder.patch_size, encoder.in_chans)

    def _measure(self, trainer: Trainer, module: LightningModule) -> None:
        """Every rank reads the same training clips, so no rank has to tell another."""
        batches = trainer.datamodule.baseline_dataloader()
        options = {"unit": "batch", "leave": False, "disable": not trainer.is_global_zero}
        for batch in tqdm(batches, "measuring the position mean", **options):
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
        """Add the clips of a batch that are not padding."""
        kept = outputs["valid"]
        mean = self.position_mean.at(outputs["masked"])
        self._sums.add(outputs["prediction"][kept], outputs["target"][kept], mean[kept])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up over ranks, log, and write a row."""
        sums = trainer.strategy.reduce(self._sums.as_tensor(), reduce_op="sum")
        self.latest = HeldOutErrors.summary(sums, pl_module.mae.appearance_weight)
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
