"""The region tube mask: which tokens the autoencoder guesses (paper section 3; upstream's `part_window`).

Masks are bool, True = masked, in raster order (t, h, w). One pattern is drawn for every region-sized (h, w)
window of the frame and repeated over all frames of the clip (a tube), with the same count in every window:
every region keeps equally many visible tokens, as region attention needs. Upstream manages that for
full-width windows only. A plain tube mask is a region tube mask whose one window is the frame.

Two ablations of it, for `draw_region_mask` alone: a random mask has a pattern of its own in every region,
which does not repeat over time (upstream offers one, but does not wire it up); a symmetric mask keeps the
visible tokens in one half of the face, as the other is nearly its mirror image (upstream's `apply_symmetry`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from maedfer.models.regions import Triple, as_triple, check_region

MASK_MODES = ("tube", "random")
MASK_SYMMETRIES = ("none", "global", "local")


def masked_per_window(window: Sequence[int], ratio: float) -> int:
    """Masked tokens of an (h, w) window: the exact floor of ratio * h * w, the ratio taken as a decimal.

    A (t, h, w) region does as well.

    Raises:
        ValueError: nothing would be masked, or nothing would stay visible.
    """
    size = math.prod(window)
    masked = _share_of(size, ratio)
    if not 0 < masked < size:
        raise ValueError(
            f"mask ratio {ratio} masks {masked} of the {size} tokens in a window of {tuple(window)}; "
            f"take a ratio from {1 / size:.3g} up to and without 1, or a larger region"
        )
    return masked


@cache
def _share_of(size: int, ratio: float) -> int:
    """The floor of an exact product; fractions are slow, and a loader asks for every clip."""
    return math.floor(Fraction(str(ratio)) * size)


def _windows(grid: Sequence[int], region_size: Sequence[int], ratio: float) -> tuple[Triple, Triple, int]:
    grid, region = as_triple(grid, "grid"), as_triple(region_size, "region_size")
    check_region(grid, region)
    return grid, region, masked_per_window(region[1:], ratio)


def region_tube_mask(
    batch_size: int,
    grid: Sequence[int],
    region_size: Sequence[int],
    ratio: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw one region tube mask per clip.

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
        ValueError: the region does not divide the grid, or the ratio leaves a window without masked or
            visible tokens.
    """
    (t, h, w), (_, rh, rw), masked = _windows(grid, region_size, ratio)
    noise = torch.rand(batch_size, h // rh, w // rw, rh * rw, generator=generator, device=device)
    pattern = noise.argsort(dim=-1).argsort(dim=-1) < masked
    return repeat(pattern, "b h w (rh rw) -> b (t h rh w rw)", t=t, rh=rh, rw=rw)


def tube_mask(
    batch_size: int,
    grid: Sequence[int],
    ratio: float,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw VideoMAE's tube mask: one window over the whole frame; for joint attention or frame-sized regions.

    Returns:
        bool (B, N), True = masked.
    """
    return region_tube_mask(batch_size, grid, grid, ratio, generator, device)


def draw_region_mask(
    grid: Sequence[int],
    region_size: Sequence[int],
    ratio: float,
    rng: np.random.Generator,
    mode: str = "tube",
    symmetry: str = "none",
) -> np.ndarray:
    """Draw one clip's mask with numpy, for loaders that seed every sample.

    Args:
        grid: tokens (t, h, w) of a clip.
        region_size: tokens (t, h, w) of a region.
        ratio: share of masked tokens, rounded down within a window or region.
        rng: source of randomness.
        mode: `tube` (as `region_tube_mask`) or `random` (another pattern in every region).
        symmetry: `none`; or all visible tokens in the left or all in the right half of the frame, the same
            half for the whole clip (`global`) or drawn for each window or region (`local`).

    Returns:
        bool (N,), True = masked.

    Raises:
        ValueError: as `region_tube_mask`, and for what `masked_per_clip` refuses.
    """
    (t, h, w), (bt, bh, bw), masked = _boxes(grid, region_size, ratio, mode, symmetry)
    times = 1 if mode == "tube" else t // bt
    boxes = times * (h // bh) * (w // bw)
    if symmetry == "none":
        pattern = _shuffled(rng, boxes, bt * bh * bw, masked)
    else:
        half = _shuffled(rng, boxes, bt * bh * bw // 2, masked - bt * bh * bw // 2)
        pattern = _on_one_side(half, bw // 2, rng.random(1 if symmetry == "global" else boxes) < 0.5)
    mask = rearrange(
        pattern, "(t h w) (bt bh bw) -> (t bt h bh w bw)", t=times, h=h // bh, bt=bt, bh=bh, bw=bw
    )
    return np.tile(mask, t) if mode == "tube" else mask


def masked_per_clip(
    grid: Sequence[int], region_size: Sequence[int], ratio: float, mode: str = "tube", symmetry: str = "none"
) -> int:
    """Masked tokens of a clip, as `draw_region_mask` draws it.

    Raises:
        ValueError: an unknown mode or symmetry, a region that does not divide the grid, a ratio that leaves
            nothing masked or visible, or visible tokens that do not fit in one half of the face.
    """
    grid, box, masked = _boxes(grid, region_size, ratio, mode, symmetry)
    return math.prod(grid) // math.prod(box) * masked


def _boxes(
    grid: Sequence[int], region_size: Sequence[int], ratio: float, mode: str, symmetry: str
) -> tuple[Triple, Triple, int]:
    """The grid, the (t, h, w) of what one pattern is drawn for, and how many tokens of it are masked."""
    for flag, value, words in (
        ("mask_mode", mode, MASK_MODES),
        ("mask_symmetry", symmetry, MASK_SYMMETRIES),
    ):
        if value not in words:
            raise ValueError(f"{flag}={value!r} is not one of {words}")
    if mode == "tube":
        grid, region, masked = _windows(grid, region_size, ratio)
        box = (1, *region[1:])
    else:
        grid, box = as_triple(grid, "grid"), as_triple(region_size, "region_size")
        check_region(grid, box)
        masked = masked_per_window(box, ratio)
    if symmetry != "none":
        _check_halves(grid, box, masked, ratio, symmetry)
    return grid, box, masked


def _check_halves(grid: Triple, box: Triple, masked: int, ratio: float, symmetry: str) -> None:
    size = math.prod(box)
    if box[2] != grid[2] or box[2] % 2:
        raise ValueError(
            f"mask_symmetry={symmetry!r} keeps one half of the face: it needs regions as wide as the frame, "
            f"of an even number of tokens, but one is {box[2]} of {grid[2]} tokens wide; take another "
            "region_size, or mask_symmetry='none'"
        )
    if 2 * masked < size:
        raise ValueError(
            f"mask ratio {ratio} leaves {size - masked} of {size} tokens visible, more than the half "
            f"that mask_symmetry={symmetry!r} allows: take a ratio of 0.5 or more"
        )


def _shuffled(rng: np.random.Generator, rows: int, size: int, masked: int) -> np.ndarray:
    """Rows (rows, size) with so many True each, at places of their own."""
    return rng.permuted(np.tile(np.arange(size) < masked, (rows, 1)), axis=1)


def _on_one_side(half: np.ndarray, width: int, left: np.ndarray) -> np.ndarray:
    """Half boxes (boxes, rows * width) as the left or right part of whole ones, masked in the other part.

    Args:
        half: of every box.
        width: columns of a half.
        left: bool (boxes,), or (1,) for all of them.
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
    """Turn masks into raster indices of the visible and of the masked tokens, both ascending.

    Args:
        mask: bool (B, N), True = masked, the same count in every clip.
        num_masked: that count, when known; otherwise it is read from the first mask, for which a GPU has to
            wait.

    Returns:
        int64 (B, V) and (B, M).
    """
    if num_masked is None:
        num_masked = int(mask[0].sum())
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    return order.tensor_split([mask.shape[1] - num_masked], dim=1)


def draw_predicted(seeds: Sequence[int], num_masked: int, num_predicted: int) -> Tensor:
    """Choose which masked tokens are predicted (VideoMAE V2's idea, arXiv 2303.16727, drawn evenly).

    Args:
        seeds: B numbers in 0..2^63-1, one per clip: what is chosen for a clip depends on its own alone.
        num_masked: masked tokens M of a clip.
        num_predicted: how many of them to choose, P.

    Returns:
        int64 (B, P) on the CPU, places 0..M-1 among the masked tokens, ascending.
    """
    generator = torch.Generator()
    orders = [torch.randperm(num_masked, generator=generator.manual_seed(seed)) for seed in seeds]
    return torch.stack(orders)[:, :num_predicted].sort(dim=1).values
