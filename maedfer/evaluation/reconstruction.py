"""Reconstruction error of each head on held-out clips, beside two baselines.

Zero predicts the mean of the normalised channel. Position mean predicts, for every token position, the mean
target of the training clips there; on aligned faces this is a strong baseline. Both are evaluated on the
same masked tokens as the model. A model that ends at the position mean has learnt where faces are, not how
they move."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from maedfer.models.targets import split_target

HEADS = ("appearance", "motion")
PREDICTORS = ("model", "zero", "position_mean")


class PositionMean:
    """The mean reconstruction target of every token position, over training clips without augmentation."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._clips = 0

    @property
    def is_measured(self) -> bool:
        """True once a clip has been added."""
        return self._clips > 0

    def add(self, targets: Tensor) -> None:
        """Adds the targets (B, N, P) of all tokens of some clips."""
        total = targets.sum(0, dtype=torch.float32)
        self._total = total if self._total is None else self._total + total
        self._clips += len(targets)

    def table(self) -> Tensor:
        """Returns the mean target of every position (N, P)."""
        if self._total is None:
            raise ValueError("the position mean needs at least one training clip")
        return self._total / self._clips

    def at(self, indices: Tensor) -> Tensor:
        """Returns the mean targets (B, M, P) at token indices (B, M)."""
        return self.table()[indices]

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for a checkpoint, so that a resumed run keeps its baseline."""
        return {"total": self._total, "clips": self._clips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state from `state_dict`."""
        self._total, self._clips = state["total"], state["clips"]

    def to(self, device: torch.device) -> None:
        """Moves the sums to a device."""
        if self._total is not None:
            self._total = self._total.to(device)


class HeldOutErrors:
    """Sums of squared errors per head and predictor over the held-out clips of this rank.

    Args:
        device: device of the sums.
        patch_size: side of a tubelet in pixels.
        in_chans: channels of a frame.
    """

    def __init__(self, device: torch.device, patch_size: int, in_chans: int = 3) -> None:
        self._split = partial(split_target, patch_size=patch_size, in_chans=in_chans)
        self._sums = torch.zeros(len(HEADS), len(PREDICTORS), dtype=torch.float64, device=device)
        self._counts = torch.zeros(len(HEADS), dtype=torch.float64, device=device)

    def add(self, prediction: Tensor, target: Tensor, position_mean: Tensor) -> None:
        """Adds masked tokens of some clips, all (B, M, P)."""
        guesses = (prediction.float(), torch.zeros_like(target), position_mean)
        for column, guess in enumerate(guesses):
            error = (guess - target).double().square()
            self._sums[:, column] += torch.stack([part.sum() for part in self._split(error)])
        for head, part in enumerate(self._split(target)):
            self._counts[head] += part.numel()

    def as_tensor(self) -> Tensor:
        """Returns all sums as one vector, which is added up over ranks."""
        return torch.cat([self._sums.flatten(), self._counts])

    @staticmethod
    def summary(sums: Tensor, appearance_weight: float) -> dict[str, float | None]:
        """Returns the errors from the summed vector of `as_tensor`; empty if there was no clip.

        `<head>_<predictor>` is a mean squared error, `<head>_vs_<baseline>` the model's relative to that of a
        baseline, None where the baseline makes no error (the motion of tracks of one frame). The head `total`
        weighs the others as the loss does (lambda on appearance).
        """
        if sums[-1] == 0:
            return {}
        per_head = sums[: -len(HEADS)].reshape(len(HEADS), len(PREDICTORS)) / sums[-len(HEADS) :, None]
        weights = torch.tensor([appearance_weight, 1 - appearance_weight], dtype=per_head.dtype)
        rows = torch.cat([per_head, (weights.to(per_head.device) @ per_head)[None]]).tolist()
        errors = [error for row in rows for error in row]
        relative = [row[0] / error if error > 0 else None for row in rows for error in row[1:]]
        return dict(zip(held_out_columns()[1:], errors + relative, strict=True))


def held_out_columns() -> tuple[str, ...]:
    """Returns the column names of `held_out.csv`."""
    names = (*HEADS, "total")
    errors = [f"{name}_{p}" for name in names for p in PREDICTORS]
    return ("step", *errors, *(f"{n}_vs_{b}" for n in names for b in PREDICTORS[1:]))


def describe(errors: dict[str, Any], synthetic: bool) -> str:
    """Returns a table for the screen: the model's error, both baselines, the gain over the better one."""
    lines = [f"{'held-out error':<16}{'model':>9}{'zero':>9}{'pos. mean':>11}{'gain':>9}"]
    lines += [f"{row[0]:<16}{row[1]:>9}{row[2]:>9}{row[3]:>11}{row[4]:>9}" for row in error_rows(errors)]
    return "\n".join(lines + ["(synthetic faces)"] * synthetic)


def error_rows(errors: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns name, errors and gain of each head as text; no rows for a run without a held-out split."""
    return [
        (head, *(f"{errors[f'{head}_{predictor}']:.4f}" for predictor in PREDICTORS), gain(errors, head))
        for head in (*HEADS, "total")
        if errors
    ]


def gain(errors: Mapping[str, Any], head: str) -> str:
    """Returns how much lower the error of a head is than the better baseline's; a dash if that is zero."""
    model, *baselines = (errors[f"{head}_{p}"] for p in PREDICTORS)
    return f"{1 - model / min(baselines):.1%}" if min(baselines) else "-"
