"""Regions: the boxes of neighbouring tokens that LGI-Former attends within (paper section 3, LGI-Former).

A token grid of (T, H, W) is cut into boxes of (t, h, w) tokens. Two orders of the same tokens occur:

* raster order: time, then row, then column of the whole grid; used at every public border;
* region-major order: region after region (regions in raster order), each one's tokens in raster order; used
  inside.

Upstream regroups by reshaping and is right only for full-width regions; index tensors are right for every
region that divides the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor

Triple = tuple[int, int, int]


def as_triple(sizes: Sequence[int], flag: str) -> Triple:
    """Three positive whole numbers (t, h, w) from a tuple, or the list that JSON and YAML make of one.

    Raises:
        ValueError: there are not three, or one is not positive.
    """
    if len(sizes) != 3 or any(int(size) != size or size < 1 for size in sizes):
        raise ValueError(f"{flag}={tuple(sizes)} must be three positive whole numbers (t, h, w) in tokens")
    return (int(sizes[0]), int(sizes[1]), int(sizes[2]))


def check_region(grid: Triple, region: Triple) -> None:
    """Refuse a region that does not divide the token grid.

    Raises:
        ValueError: names grid, region and a region that would fit.
    """
    if any(size % part for size, part in zip(grid, region, strict=True)):
        fits = tuple(map(math.gcd, grid, region))
        raise ValueError(
            f"region_size={region} does not divide the token grid {grid} (t, h, w); "
            f"take a divisor of each, for example region_size={fits}"
        )


@dataclass(frozen=True)
class RegionLayout:
    """How a grid of tokens is cut into regions, both as (t, h, w) in tokens.

    Raises:
        ValueError: the region does not divide the grid.
    """

    grid: Triple
    region: Triple

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", as_triple(self.grid, "grid"))
        object.__setattr__(self, "region", as_triple(self.region, "region_size"))
        check_region(self.grid, self.region)

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole grid."""
        return math.prod(self.grid)

    @property
    def tokens_per_region(self) -> int:
        """Tokens of one region (the paper's N)."""
        return math.prod(self.region)

    @property
    def num_regions(self) -> int:
        """Regions of the grid (the paper's M), one representative token each."""
        return self.num_tokens // self.tokens_per_region

    @cached_property
    def region_order(self) -> Tensor:
        """Raster index of the token at every region-major place, int64 (N,)."""
        rt, rh, rw = self.region
        raster = torch.arange(self.num_tokens).view(self.grid)
        pattern = "(t rt) (h rh) (w rw) -> (t h w rt rh rw)"
        return rearrange(raster, pattern, rt=rt, rh=rh, rw=rw).contiguous()

    @cached_property
    def region_rank(self) -> Tensor:
        """Region-major place of every raster token, int64 (N,): the inverse of `region_order`."""
        return self.region_order.argsort()

    @cached_property
    def region_of_token(self) -> Tensor:
        """Index of the region that each raster token lies in, int64 (N,)."""
        return self.region_rank // self.tokens_per_region

    def count_masked(self, mask: Tensor) -> int:
        """Masked tokens of a clip, after checking that every region of every clip keeps equally many.

        Reads the mask's values, so on a GPU it waits for the device.

        Args:
            mask: bool (B, N), True = masked, raster order.

        Raises:
            ValueError: wrong shape, uneven counts, or nothing visible or masked.
        """
        if mask.ndim != 2 or mask.shape[1] != self.num_tokens or mask.dtype != torch.bool:
            raise ValueError(
                f"mask is {mask.dtype} {tuple(mask.shape)}, expected torch.bool (clips, {self.num_tokens}) "
                f"for the token grid {self.grid}"
            )
        per_region = rearrange(
            ~mask[:, self.region_order.to(mask.device)], "b (r n) -> b r n", r=self.num_regions
        )
        visible = per_region.sum(-1)
        low, high = int(visible.min()), int(visible.max())
        if low != high:
            raise ValueError(
                f"mask leaves between {low} and {high} visible tokens in the regions {self.region} of the "
                f"grid {self.grid}, but attention needs the same count in each: draw it with region_tube_mask"
            )
        if low in (0, self.tokens_per_region):
            raise ValueError(f"mask leaves {low} of the {self.tokens_per_region} tokens of a region visible")
        return self.num_tokens - low * self.num_regions

    def check_visible(self, visible: Tensor) -> None:
        """Refuse visible indices that are not equally many in every region.

        Args:
            visible: int64 (B, V), raster indices.

        Raises:
            ValueError: names the lowest and highest count.
        """
        if visible.ndim != 2 or visible.shape[1] % self.num_regions:
            raise ValueError(
                f"visible is {tuple(visible.shape)}: not a multiple of {self.num_regions} regions"
            )
        regions = self.region_of_token.to(visible.device)[visible]
        counts = torch.zeros(visible.shape[0], self.num_regions, dtype=torch.int64, device=visible.device)
        counts.scatter_add_(1, regions, torch.ones_like(regions))
        low, high = int(counts.min()), int(counts.max())
        if low != high:
            raise ValueError(
                f"visible holds between {low} and {high} tokens per region; every region needs the same"
            )
