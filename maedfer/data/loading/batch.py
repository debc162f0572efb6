"""The batch of clips that goes from a loader worker to a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass
class ClipBatch:
    """A batch of clips; B is samples times clips per sample, clips of a sample stand next to each other.

    Attributes:
        clips: uint8 (B, T, 3, H, W), as stored.
        boxes: Crop boxes float32 (B, 4): left, top, width, height in shares of the frame.
        flips: Mirrored clips, bool (B,).
        masks: bool (B, N), True = masked; None where no masks are drawn.
        targets: float32 (B, K), NaN for a sample without a label; None where no labels are read.
        seeds: B numbers that seed later random draws for a clip; a list, as reading a tensor on a GPU waits
            for the GPU.
        valid: Clips to count in an evaluation, bool (B,); always True in training.
        keys: Keys of the B samples.
        starts: Start of each clip in the stored track, in seconds.
        epoch: Epoch of the plan.
        batch: Number of the batch in this rank's part of the epoch.
        broken: Name and reason of each sample that was left out.
    """

    clips: Tensor
    boxes: Tensor
    flips: Tensor
    masks: Tensor | None
    targets: Tensor | None
    seeds: list[int]
    valid: Tensor
    keys: list[str]
    starts: list[float]
    epoch: int
    batch: int
    broken: list[tuple[str, str]]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the batch by field name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def to(self, device: torch.device | str) -> Self:
        """Returns the batch with its tensors on a device; Lightning moves batches with it."""
        waits = torch.device(device).type in ("cpu", "mps")
        return self._map(lambda tensor: tensor.to(device, non_blocking=not waits))

    def pin_memory(self) -> Self:
        """Returns the batch in pinned memory; torch's DataLoader calls it where there is a GPU."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in self.tensors.items()}
        return replace(self, **changed)
