"""Augmentation of a clip in a loader worker: RandAugment (arXiv 1909.13719), one draw for all frames.

By torchvision, on whole clips. Upstream's setting is timm's `rand-m7-n4-mstd0.5-inc1`: four operations, each
applied with probability 0.5, at 7 tenths of the greatest strength, grey where a frame was moved away. This is
the same with `ClipAugment(4, 7)`, except that

* torchvision draws the four from 14 operations (one of them the identity), timm from 15: `Invert` and
  `SolarizeAdd` are missing; `Posterize` keeps 8 bits at strength 0 and 4 at 10, timm 4 and 0;
* the strength is not jittered (timm: standard deviation 0.5 of 10);
* moved frames are sampled bilinearly, not with bilinear or bicubic interpolation at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange

from maedfer.randomness import seed_of

MAX_MAGNITUDE = 10
"""The greatest strength, timm's scale."""

APPLIED = 0.5
"""Probability that a drawn operation is applied."""

GREY = (128.0, 128.0, 128.0)
"""What fills the place of what was moved away."""


@contextmanager
def seeded(*name: str | int) -> Iterator[None]:
    """Let torch's draws on the CPU be a function of a name, and leave the process's own sequence alone.

    `torch.manual_seed` would not do: it seeds every GPU as well, and what a GPU draws is not put back here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*name) >> 65)  # 63 bits: torch's seeds are signed
        yield


@dataclass(frozen=True)
class ClipAugment:
    """RandAugment with one draw per clip.

    Attributes:
        ops: Operations drawn, with replacement; each is applied with probability 0.5. 0 changes nothing.
        magnitude: Strength of all of them, 0 to 10.

    Raises:
        ValueError: a number out of range.
    """

    ops: int
    magnitude: int

    def __post_init__(self) -> None:
        if self.ops < 0:
            raise ValueError(f"--data.rand_augment_ops {self.ops} is negative; 0 turns RandAugment off")
        if not 0 <= self.magnitude <= MAX_MAGNITUDE:
            raise ValueError(f"--data.rand_augment_magnitude {self.magnitude} is not in 0..{MAX_MAGNITUDE}")

    def __call__(self, frames: np.ndarray, seed: int, shared: int | None = None) -> np.ndarray:
        """Augment one clip.

        Args:
            frames: uint8 (T, H, W, 3), left as it is.
            seed: decides everything that is drawn.
            shared: decides the choice of operations, where clips have that in common (see `official_draws`);
                which of them are applied, and in which direction, stays with `seed`.

        Returns:
            uint8 (T, H, W, 3).
        """
        from torchvision.transforms import v2  # only where clips are augmented: it is slow to import

        with seeded(seed, "rand_augment"):
            applied = torch.rand(self.ops) < APPLIED
            count = int(applied.sum())
            if not count:
                return frames
            strength = (self.magnitude, MAX_MAGNITUDE + 1, v2.InterpolationMode.BILINEAR, list(GREY))
            clip = rearrange(torch.from_numpy(frames), "t h w c -> t c h w")
            if shared is None:
                clip = v2.RandAugment(count, *strength)(clip)
            else:
                for chosen in self._chosen(shared, v2.RandAugment._AUGMENTATION_SPACE, applied):
                    augment = v2.RandAugment(1, *strength)
                    augment._AUGMENTATION_SPACE = chosen  # torchvision has no other way to name operations
                    clip = augment(clip)
        return np.ascontiguousarray(rearrange(clip, "t c h w -> t h w c").numpy())

    def _chosen(
        self, shared: int, space: Mapping[str, Any], applied: torch.Tensor
    ) -> Iterator[dict[str, Any]]:
        """The operations of a space that a seed chooses, one at a time, without those not applied."""
        names = list(space)
        drawn = np.random.Generator(np.random.PCG64(shared)).integers(len(names), size=self.ops)
        for number in drawn[applied.numpy()]:
            yield {names[number]: space[names[number]]}
