"""Regions: the boxes of neighbouring tokens that LGI-Former attends within (paper section 3, LGI-Former).

A token grid of (T, H, W) is cut into boxes of (t, h, w) tokens. Two orders of the same tokens occur:

* raster order: time, then row, then column of the whole grid; used at every public border;
* region-major order: region after region (regions in raster order), each one's tokens in raster order; used
  inside.

Upstream regroups by reshaping, which is correct only for full-width regions; index tensors are correct for
every region that divides the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import one_hot

from maedfer.errors import UserError

Triple = tuple[int, int, int]


def as_triple(sizes: Sequence[int], parameter: str) -> Triple:
    """Returns three positive whole numbers (t, h, w) from a tuple, or from the list that JSON makes of one.

    Raises:
        UserError: there are not three, or one is not positive.
    """
    if len(sizes) != 3 or any(int(size) != size or size < 1 for size in sizes):
        raise UserError(parameter, f"{tuple(sizes)} must be three positive whole numbers (t, h, w) in tokens")
    return (int(sizes[0]), int(sizes[1]), int(sizes[2]))


def check_region(grid: Triple, region: Triple) -> None:
    """Refuses a region that does not divide the token grid.

    Raises:
        UserError: names grid, region and a region that would fit.
    """
    if any(size % part for size, part in zip(grid, region, strict=True)):
        fits = tuple(map(math.gcd, grid, region))
        raise UserError(
            "region_size",
            f"{region} does not divide the token grid {grid} (t, h, w); take a divisor of each, for example "
            f"{fits}",
        )


@dataclass(frozen=True)
class RegionLayout:
    """Cuts a grid of tokens into regions, both as (t, h, w) in tokens.

    Raises:
        UserError: the region does not divide the grid.
    """

    grid: Triple
    region: Triple

    def __post_init__(self) -> None:
        check_region(self.grid, self.region)

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the whole grid."""
        return math.prod(self.grid)

    @property
    def tokens_per_region(self) -> int:
        """Number of tokens of one region (the paper's N)."""
        return math.prod(self.region)

    @property
    def num_regions(self) -> int:
        """Number of regions (the paper's M), with one representative token each."""
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
        """Index of the region of every raster token, int64 (N,)."""
        return self.region_rank // self.tokens_per_region

    def count_masked(self, mask: Tensor) -> int:
        """Counts the masked tokens of a clip, after checking that all regions of all clips keep equally many.

        Reads the mask's values, so on a GPU it waits for the device.

        Args:
            mask: bool (B, N), True = masked, raster order.

        Raises:
            UserError: wrong shape, uneven counts, or nothing visible or masked.
        """
        if mask.ndim != 2 or mask.shape[1] != self.num_tokens or mask.dtype != torch.bool:
            raise UserError(
                "mask",
                f"{mask.dtype} {tuple(mask.shape)} must be torch.bool (clips, {self.num_tokens}) for the "
                f"token grid {self.grid}",
            )
        per_region = rearrange(
            ~mask[:, self.region_order.to(mask.device)], "b (r n) -> b r n", r=self.num_regions
        )
        visible = per_region.sum(-1)
        low, high = int(visible.min()), int(visible.max())
        if low != high:
            raise UserError(
                "mask",
                f"it leaves between {low} and {high} visible tokens in the regions {self.region} of the grid "
                f"{self.grid}, but attention needs the same count in each: draw it with region_tube_mask",
            )
        if low in (0, self.tokens_per_region):
            raise UserError("mask", f"it leaves {low} of {self.tokens_per_region} tokens of a region visible")
        return self.num_tokens - low * self.num_regions

    def check_visible(self, visible: Tensor) -> None:
        """Refuses visible indices that are not equally many in every region.

        Args:
            visible: int64 (B, V), raster indices.

        Raises:
            UserError: names the lowest and highest count.
        """
        if visible.ndim != 2 or visible.shape[1] % self.num_regions:
            raise UserError(
                "visible", f"{tuple(visible.shape)} is not a multiple of {self.num_regions} regions"
            )
        regions = self.region_of_token.to(visible.device)[visible]
        counts = one_hot(regions, self.num_regions).sum(1)
        low, high = int(counts.min()), int(counts.max())
        if low != high:
            raise UserError(
                "visible", f"it holds between {low} and {high} tokens per region; every region needs the same"
            )
