"""Collects the predictions of this rank batch by batch, and gathers those of all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.distributed
from pytorch_lightning import Trainer
from torch import Tensor


class PredictionCollector:
    """The answers of this rank, batch by batch; `gather` gives those of all ranks."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._outputs: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def add(self, keys: Sequence[str], outputs: Tensor, targets: Tensor, valid: Tensor) -> None:
        """Add S samples.

        Args:
            keys: their keys.
            outputs: (S, K), views averaged.
            targets: (S, K).
            valid: bool (S,); False marks the repeats that fill the last batch of a rank.
        """
        kept = valid.cpu()
        self._keys += [key for key, is_kept in zip(keys, kept.tolist(), strict=True) if is_kept]
        self._outputs.append(outputs.detach().cpu().double()[kept].numpy())
        self._targets.append(targets.detach().cpu().double()[kept].numpy())

    def gather(self, trainer: Trainer) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Keys, outputs (n, K) and targets (n, K) of all ranks, sorted by key; every rank has to call it.

        Repeats that were not marked stay in, for `check_counted` to find.
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
    """Rows of all batches, (0, 0) without any."""
    return np.concatenate(batches) if batches else np.empty((0, 0))
