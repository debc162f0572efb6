"""Which masks a loader draws for its clips, and how many tokens they hide.

What draws them is imported where it is needed: a loader without masks is spared all models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class MaskSpec:
    """Which masks to draw; `maedfer.models.masking.draw_region_mask` describes what they look like.

    Attributes:
        grid: Tokens (t, h, w) of a clip.
        region_size: Tokens (t, h, w) of a region.
        ratio: Masked share of a region.
        mode: `tube` or `random`.
        symmetry: `none`, `global` or `local`.
    """

    grid: tuple[int, int, int]
    region_size: tuple[int, int, int]
    ratio: float
    mode: str = "tube"
    symmetry: str = "none"

    @cached_property
    def num_masked(self) -> int:
        """Masked tokens of a clip.

        Raises:
            ValueError: masks that cannot be drawn.
        """
        from maedfer.models.masking import masked_per_clip

        return masked_per_clip(self.grid, self.region_size, self.ratio, self.mode, self.symmetry)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A mask bool (N,), True = masked, with as many visible tokens in every region."""
        from maedfer.models.masking import draw_region_mask

        return draw_region_mask(self.grid, self.region_size, self.ratio, rng, self.mode, self.symmetry)
