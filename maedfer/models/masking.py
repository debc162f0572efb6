"""Draws region tube masks: which tokens the autoencoder predicts (paper section 3; upstream's `part_window`).

Masks are bool, True = masked, in raster order (t, h, w). One pattern is drawn for every region-sized (h, w)
window of the frame and repeated over all frames of the clip (a tube), with the same count in every window:
every region keeps equally many visible tokens, as region attention needs. Upstream achieves that for
full-width windows only. A plain tube mask is a region tube mask whose one window is the frame.

`MaskSpec` has two ablations. A random mask has its own pattern in every region, and does not repeat
over time (upstream has one, but nothing calls it). A symmetric mask keeps the visible tokens in one half of
the face, as the other is nearly its mirror image (upstream's `apply_symmetry`).

To add a mode, add its name to `MaskMode` and its function to `MASKS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from maedfer.errors import UserError
from maedfer.models.regions import Triple, as_triple, check_region

MaskMode = Literal["tube", "random"]
MaskSymmetry = Literal["none", "global", "local"]
Array = TypeVar("Array", Tensor, np.ndarray)


def _tube(grid: Triple, region: Triple) -> tuple[Triple, Triple]:
    return (1, *grid[1:]), (1, *region[1:])


def _random(grid: Triple, region: Triple) -> tuple[Triple, Triple]:
    return grid, region


MASKS: dict[MaskMode, Callable[[Triple, Triple], tuple[Triple, Triple]]] = {"tube": _tube, "random": _random}
"""Mode -> function of grid and region (t, h, w); it returns the part of the grid that patterns are drawn for,
which is then repeated over time, and the box of tokens that has its own pattern."""


def masked_per_window(window: Sequence[int], ratio: float) -> int:
    """Returns the masked tokens of a window: the exact floor of ratio * size, the ratio taken as a decimal.

    Args:
        window: sizes in tokens, (h, w) or (t, h, w).
        ratio: share of masked tokens.

    Raises:
        UserError: nothing would be masked, or nothing would stay visible.
    """
    size = math.prod(window)
    masked = _share_of(size, ratio)
    if not 0 < masked < size:
        raise UserError(
            "mask_ratio",
            f"{ratio} masks {masked} of the {size} tokens in a window of {tuple(window)}; take a ratio of "
            f"{1 / size:.3g} or more and below 1, or a larger region",
        )
    return masked


@cache
def _share_of(size: int, ratio: float) -> int:
    """Returns the floor of an exact product; cached, as fractions are slow and every clip needs one."""
    return math.floor(Fraction(str(ratio)) * size)


@dataclass(frozen=True)
class MaskSpec:
    """Describes the masks of a run, and draws them.

    Attributes:
        grid: tokens (t, h, w) of a clip.
        region_size: tokens (t, h, w) of a region.
        ratio: share of masked tokens, rounded down within a window (`tube`) or region (`random`).
        mode: `tube` (as `region_tube_mask`) or `random` (another pattern in every region).
        symmetry: `none`; or all visible tokens in the left or all in the right half of the frame, the same
            half for the whole clip (`global`) or drawn for each window or region (`local`).
    """

    grid: Sequence[int]
    region_size: Sequence[int]
    ratio: float
    mode: MaskMode = "tube"
    symmetry: MaskSymmetry = "none"

    @cached_property
    def num_masked(self) -> int:
        """Number of masked tokens of a clip.

        Raises:
            UserError: an unknown mode or symmetry, a region that does not divide the grid, a ratio that
                leaves nothing masked or visible, or visible tokens that do not fit in one half of the face.
        """
        return math.prod(self.grid) // self.layout.size * self.layout.masked

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws the mask of one clip, bool (N,), True = masked.

        Raises:
            UserError: as `num_masked`.
        """
        layout = self.layout
        if self.symmetry == "none":
            return layout.fill(_shuffled(rng, layout.boxes, layout.size, layout.masked))
        half = layout.size // 2
        patterns = _shuffled(rng, layout.boxes, half, layout.masked - half)
        on_left = rng.random(1 if self.symmetry == "global" else layout.boxes) < 0.5
        return layout.fill(_on_one_side(patterns, layout.box[2] // 2, on_left))

    @cached_property
    def layout(self) -> Layout:
        """The boxes that have a pattern each; raises as `num_masked`."""
        if self.mode not in MASKS:
            raise UserError("mask_mode", f"{self.mode!r} is not one of {tuple(MASKS)}")
        if self.symmetry not in get_args(MaskSymmetry):
            raise UserError("mask_symmetry", f"{self.symmetry!r} is not one of {get_args(MaskSymmetry)}")
        grid, region = as_triple(self.grid, "grid"), as_triple(self.region_size, "region_size")
        check_region(grid, region)
        drawn, box = MASKS[self.mode](grid, region)
        layout = Layout(drawn, box, masked_per_window(box, self.ratio), copies=grid[0] // drawn[0])
        if self.symmetry != "none":
            self._check_halves(layout, grid[2])
        return layout

    def _check_halves(self, layout: Layout, columns: int) -> None:
        """Refuses boxes without halves, or with more visible tokens than fit in one."""
        width = layout.box[2]
        if width != columns or width % 2:
            raise UserError(
                "mask_symmetry",
                f"{self.symmetry!r} keeps one half of the face: it needs regions as wide as the frame, of an "
                f"even number of tokens, but one is {width} of {columns} tokens wide; take another "
                "region_size, or 'none'",
            )
        if 2 * layout.masked < layout.size:
            raise UserError(
                "mask_ratio",
                f"{self.ratio} leaves {layout.size - layout.masked} of {layout.size} tokens visible, more "
                f"than the half that mask_symmetry={self.symmetry!r} allows: take 0.5 or more",
            )


class Layout(NamedTuple):
    """Boxes that have a pattern each, and how the patterns fill a clip.

    Attributes:
        drawn: tokens (t, h, w) that patterns are drawn for.
        box: tokens (t, h, w) of a pattern.
        masked: masked tokens of every pattern.
        copies: how often what was drawn is repeated over time.
    """

    drawn: Triple
    box: Triple
    masked: int
    copies: int

    @property
    def size(self) -> int:
        """Number of tokens of a pattern."""
        return math.prod(self.box)

    @property
    def boxes(self) -> int:
        """Number of patterns to draw."""
        return math.prod(self.drawn) // self.size

    def fill(self, patterns: Array) -> Array:
        """Arranges patterns (..., boxes, size) as masks (..., N) in raster order."""
        (_, h, w), (bt, bh, bw) = self.drawn, self.box
        arrangement = "... (t h w) (bt bh bw) -> ... (copies t bt h bh w bw)"
        return repeat(patterns, arrangement, copies=self.copies, h=h // bh, w=w // bw, bt=bt, bh=bh, bw=bw)


def region_tube_mask(
    batch_size: int,
    grid: Sequence[int],
    region_size: Sequence[int],
    ratio: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws one region tube mask per clip.

    Args:
        batch_size: clips B.
        grid: tokens (t, h, w) of a clip.
        region_size: tokens (t, h, w) of a region; its (h, w) is the window.
        ratio: share of masked tokens, 0.9 as published; rounded down within a window.
        generator: source of randomness, of the same device.
        device: where to draw.

    Returns:
        bool (B, N), True = masked.

    Raises:
        UserError: the region does not divide the grid, or the ratio leaves a window without masked or
            visible tokens.
    """
    layout = MaskSpec(grid, region_size, ratio).layout
    noise = torch.rand(batch_size, layout.boxes, layout.size, generator=generator, device=device)
    return layout.fill(noise.argsort(dim=-1).argsort(dim=-1) < layout.masked)


def tube_mask(
    batch_size: int,
    grid: Sequence[int],
    ratio: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws VideoMAE's tube mask: one window over the whole frame, for joint attention.

    Returns:
        bool (B, N), True = masked.
    """
    return region_tube_mask(batch_size, grid, grid, ratio, generator, device)


def _shuffled(rng: np.random.Generator, rows: int, size: int, masked: int) -> np.ndarray:
    """Returns rows (rows, size) with `masked` True each, every row at its own random places."""
    return rng.permuted(np.tile(np.arange(size) < masked, (rows, 1)), axis=1)


def _on_one_side(half: np.ndarray, width: int, left: np.ndarray) -> np.ndarray:
    """Extends half boxes (boxes, rows * width) to whole ones, masked in the other half.

    Args:
        half: one half of every box.
        width: columns of a half.
        left: whether it is the left half, bool (boxes,), or (1,) for all of them.
    """
    rows = rearrange(half, "n (y x) -> n y 1 x", x=width)
    hidden = np.ones_like(rows)
    sides = np.where(
        rearrange(left, "n -> n 1 1 1"),
        np.concatenate((rows, hidden), axis=2),
        np.concatenate((hidden, rows), axis=2),
    )
    return rearrange(sides, "n y side x -> n (y side x)")


def mask_indices(mask: Tensor, num_masked: int | None = None) -> tuple[Tensor, Tensor]:
    """Turns masks into raster indices of the visible and of the masked tokens, both ascending.

    Args:
        mask: bool (B, N), True = masked, the same count in every clip.
        num_masked: that count, where it is known; otherwise it is read from the first mask, which waits for a
            GPU.

    Returns:
        int64 (B, V) and (B, M).
    """
    if num_masked is None:
        num_masked = int(mask[0].sum())
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    visible, masked = order.tensor_split([mask.shape[1] - num_masked], dim=1)
    return visible, masked


def draw_predicted(seeds: Sequence[int], num_masked: int, num_predicted: int) -> Tensor:
    """Chooses which masked tokens are predicted (VideoMAE V2's idea, arXiv 2303.16727, drawn evenly).

    Args:
        seeds: B numbers in 0..2^63-1, one per clip: the choice for a clip depends on its own seed alone.
        num_masked: masked tokens M of a clip.
        num_predicted: how many of them to choose, P.

    Returns:
        int64 (B, P) on the CPU, places 0..M-1 among the masked tokens, ascending.
    """
    generator = torch.Generator()
    orders = [torch.randperm(num_masked, generator=generator.manual_seed(seed)) for seed in seeds]
    return torch.stack(orders)[:, :num_predicted].sort(dim=1).values
