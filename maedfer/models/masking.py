"""The region tube mask: which tokens the autoencoder guesses (paper section 3; upstream's `part_window`).

Masks are bool, True = masked, in raster order (t, h, w). One pattern is drawn for every region-sized (h, w)
window of the frame and repeated over all frames of the clip (a tube), with the same count in every window:
every region keeps equally many visible tokens, as region attention needs. Upstream manages that for
full-width windows only. A plain tube mask is a region tube mask whose one window is the frame.
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


def masked_per_window(window: Sequence[int], ratio: float) -> int:
    """Masked tokens of an (h, w) window: the exact floor of ratio * h * w, the ratio taken as a decimal.

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


def draw_region_tube(
    grid: Sequence[int], region_size: Sequence[int], ratio: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw one clip's mask with numpy, for loaders that seed every sample; counts as in `region_tube_mask`.

    Returns:
        bool (N,), True = masked.

    Raises:
        ValueError: as `region_tube_mask`.
    """
    (t, h, w), (_, rh, rw), masked = _windows(grid, region_size, ratio)
    pattern = rng.permuted(np.tile(np.arange(rh * rw) < masked, (h // rh * (w // rw), 1)), axis=1)
    frame = rearrange(pattern, "(h w) (rh rw) -> (h rh w rw)", h=h // rh, rh=rh)
    return np.tile(frame, t)


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
