"""Computes the learning rate of a step: linear warm-up, then half a cosine (upstream: `cosine_scheduler`)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """The learning rate as a function of the step: 0 to `peak` over `warmup_steps` (end point included), then
    down to `final`.

    Upstream computes the same values as a table in advance; the closed formula needs no table on a resume.

    Attributes:
        peak: highest learning rate, already scaled by the global batch.
        final: learning rate that the cosine ends at, scaled likewise.
        total_steps: steps of the whole run.
        warmup_steps: steps of the linear part.
    """

    peak: float
    final: float
    total_steps: int
    warmup_steps: int

    def __call__(self, step: int) -> float:
        """Returns the learning rate of a 0-based step; past the end it is `final`."""
        if step < self.warmup_steps:
            return self.peak * step / max(self.warmup_steps - 1, 1)
        steps = max(self.total_steps - self.warmup_steps, 1)
        progress = min((step - self.warmup_steps) / steps, 1.0)
        return self.final + 0.5 * (self.peak - self.final) * (1 + math.cos(math.pi * progress))


def scaled_by_batch(rate: float, global_batch: int) -> float:
    """Scales a rate, which is stated for a global batch of 256 clips, linearly with the global batch."""
    return rate * global_batch / 256
