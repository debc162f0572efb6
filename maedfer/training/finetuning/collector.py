"""Collects predictions batch by batch and gathers them over ranks."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch.distributed
from pytorch_lightning import Trainer
from torch import Tensor


class PredictedBatch(TypedDict):
    """Predictions for S samples, as returned by a validation or test step.

    Attributes:
        keys: keys of the samples.
        outputs: activated outputs (S, K), averaged over views.
        targets: (S, K).
        valid: bool (S,); False marks the repeats that fill the last batch of a rank.
    """

    keys: list[str]
    outputs: Tensor
    targets: Tensor
    valid: Tensor


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
        own = (self._keys, _joined(self._outputs), _joined(self._targets))
        parts = [own]
        if trainer.world_size > 1:
            parts = [own] * trainer.world_size
            torch.distributed.all_gather_object(parts, own)
        filled = [part for part in parts if part[0]] or [own]
        keys = [key for part in filled for key in part[0]]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        outputs, targets = (np.concatenate([part[i] for part in filled]) for i in (1, 2))
        return [keys[i] for i in order], outputs[order], targets[order]


def _joined(batches: list[np.ndarray]) -> np.ndarray:
    """Concatenates the rows of all batches; (0, 0) if there are none."""
    return np.concatenate(batches) if batches else np.empty((0, 0))
