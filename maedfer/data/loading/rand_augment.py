"""Augments a clip in a loader worker: RandAugment (arXiv 1909.13719), one draw for all frames.

By torchvision, on whole clips. Upstream's setting is timm's `rand-m7-n4-mstd0.5-inc1`: four operations, each
applied with probability 0.5, at 7 tenths of the greatest strength, grey where a frame was moved away.
`ClipAugment(4, 7)` is the same, except that

* torchvision draws the four from 14 operations (one of them the identity), timm from 15: `Invert` and
  `SolarizeAdd` are missing; `Posterize` keeps 8 bits at strength 0 and 4 at 10, timm 4 and 0;
* the strength is not jittered (timm: standard deviation 0.5 of 10);
* moved frames are sampled bilinearly, not with bilinear or bicubic interpolation at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange

from maedfer.errors import UserError
from maedfer.randomness import seed_of

MAX_MAGNITUDE = 10
"""The greatest strength, timm's scale."""

APPLIED = 0.5
"""Probability that a drawn operation is applied."""

GREY = (128.0, 128.0, 128.0)
"""Colour of pixels without a source after a geometric operation."""


@contextmanager
def seeded(*name: str | int) -> Iterator[None]:
    """Seeds torch's random numbers on the CPU by a name, and restores the process's own sequence at the end.

    `torch.manual_seed` would also seed every GPU, whose sequences are not restored here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*name) >> 65)  # 63 bits: torch's seeds are signed
        yield


@dataclass(frozen=True)
class ClipAugment:
    """Applies RandAugment with one draw per clip.

    Attributes:
        ops: Operations drawn, with replacement; each is applied with probability 0.5. 0 changes nothing.
        magnitude: Strength of all of them, 0 to 10.

    Raises:
        UserError: a number out of range.
    """

    ops: int
    magnitude: int

    def __post_init__(self) -> None:
        if self.ops < 0:
            raise UserError("rand_augment_ops", f"{self.ops} is negative; 0 turns RandAugment off")
        if not 0 <= self.magnitude <= MAX_MAGNITUDE:
            raise UserError("rand_augment_magnitude", f"{self.magnitude} is not in 0..{MAX_MAGNITUDE}")

    def __call__(self, frames: np.ndarray, seed: int) -> np.ndarray:
        """Augments one clip uint8 (T, H, W, 3), which stays unchanged; `seed` decides all that is drawn."""
        from torchvision.transforms import v2  # only where clips are augmented: it is slow to import

        with seeded(seed, "rand_augment"):
            count = int((torch.rand(self.ops) < APPLIED).sum())
            if not count:
                return frames
            augment = v2.RandAugment(
                count, self.magnitude, MAX_MAGNITUDE + 1, v2.InterpolationMode.BILINEAR, list(GREY)
            )
            clip = augment(rearrange(torch.from_numpy(frames), "t h w c -> t c h w"))
        return np.ascontiguousarray(rearrange(clip, "t c h w -> t h w c").numpy())
