"""Held-out reconstruction error of each head, beside the two baselines that a loss curve alone hides.

Two predictors stand beside the model. Zero predicts the mean of the normalised channel. Position mean
predicts for every token position the mean target of the training clips there; on aligned faces this is
strong. Both are evaluated on the same masked tokens. A trained model that ends at the position mean has
learnt where faces are, not how they move.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from maedfer.models.targets import split_target
from maedfer.training.run_records import StepTable

HEADS = ("appearance", "motion")
PREDICTORS = ("model", "zero", "position_mean")


class PositionMean:
    """Mean reconstruction target of every token position, measured on training clips without augmentation."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._clips = 0

    @property
    def is_measured(self) -> bool:
        """Whether any clip has been added."""
        return self._clips > 0

    def add(self, targets: Tensor) -> None:
        """Add the targets (B, N, P) of some clips, all tokens of them."""
        total = targets.sum(0, dtype=torch.float32)
        self._total = total if self._total is None else self._total + total
        self._clips += len(targets)

    def table(self) -> Tensor:
        """The mean target of every position (N, P)."""
        if self._total is None:
            raise ValueError("the position mean needs at least one training clip")
        return self._total / self._clips

    def at(self, indices: Tensor) -> Tensor:
        """Mean targets (B, M, P) at token indices (B, M)."""
        return self.table()[indices]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: a resumed run is judged by the same baseline."""
        return {"total": self._total, "clips": self._clips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._total, self._clips = state["total"], state["clips"]

    def to(self, device: torch.device) -> None:
        """Move the sums to a device."""
        if self._total is not None:
            self._total = self._total.to(device)


class HeldOutErrors:
    """Sums of squared errors per head and predictor over the held-out clips of this rank.

    Args:
        device: where they are added up.
        patch_size: side of a tubelet in pixels.
        in_chans: channels of a frame.
    """

    def __init__(self, device: torch.device, patch_size: int, in_chans: int = 3) -> None:
        self._split = partial(split_target, patch_size=patch_size, in_chans=in_chans)
        self._sums = torch.zeros(len(HEADS), len(PREDICTORS), dtype=torch.float64, device=device)
        self._counts = torch.zeros(len(HEADS), dtype=torch.float64, device=device)

    def add(self, prediction: Tensor, target: Tensor, position_mean: Tensor) -> None:
        """Add masked tokens of some clips, all (B, M, P)."""
        guesses = (prediction.float(), torch.zeros_like(target), position_mean)
        for column, guess in enumerate(guesses):
            error = (guess - target).double().square()
            self._sums[:, column] += torch.stack([part.sum() for part in self._split(error)])
        for head, part in enumerate(self._split(target)):
            self._counts[head] += part.numel()

    def as_tensor(self) -> Tensor:
        """Everything that ranks have to add up, as one vector."""
        return torch.cat([self._sums.flatten(), self._counts])

    @staticmethod
    def summary(sums: Tensor, appearance_weight: float) -> dict[str, float | None]:
        """Errors from the summed vector of `as_tensor`: `<head>_<predictor>`, and each relative to both
        baselines, None where these make no error (the motion of tracks of one frame).

        `total` weighs the heads as the loss does (lambda on appearance). Empty when no clip was seen.
        """
        if sums[-1] == 0:
            return {}
        per_head = sums[: -len(HEADS)].reshape(len(HEADS), len(PREDICTORS)) / sums[-len(HEADS) :, None]
        weights = torch.tensor([appearance_weight, 1 - appearance_weight], dtype=per_head.dtype)
        rows = {head: per_head[i] for i, head in enumerate(HEADS)}
        rows["total"] = weights.to(per_head.device) @ per_head
        result = {
            f"{name}_{p}": float(row[i]) for name, row in rows.items() for i, p in enumerate(PREDICTORS)
        }
        for name, row in rows.items():
            for i, baseline in enumerate(PREDICTORS[1:], 1):
                result[f"{name}_vs_{baseline}"] = float(row[0] / row[i]) if row[i] > 0 else None
        return result


def held_out_columns() -> tuple[str, ...]:
    """Column names of `held_out.csv`."""
    names = (*HEADS, "total")
    errors = [f"{name}_{p}" for name in names for p in PREDICTORS]
    return ("step", *errors, *(f"{n}_vs_{b}" for n in names for b in PREDICTORS[1:]))


def describe(errors: dict[str, Any], synthetic: bool) -> str:
    """A small table for the screen: the model's error, both baselines, and the gain over the better one."""
    lines = [f"{'held-out error':<16}{'model':>9}{'zero':>9}{'pos. mean':>11}{'gain':>9}"]
    for head in (*HEADS, "total"):
        model, zero, mean = (errors[f"{head}_{p}"] for p in PREDICTORS)
        lines.append(f"{head:<16}{model:>9.4f}{zero:>9.4f}{mean:>11.4f}{gain(errors, head):>9}")
    return "\n".join(lines + ["(synthetic faces)"] * synthetic)


def gain(errors: Mapping[str, Any], head: str) -> str:
    """How much less a head errs than the better baseline, in percent; a dash where that makes no error."""
    model, *baselines = (errors[f"{head}_{p}"] for p in PREDICTORS)
    return f"{1 - model / min(baselines):.1%}" if min(baselines) else "-"


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
