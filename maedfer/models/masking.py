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
    masked = math.floor(Fraction(str(ratio)) * size)
    if not 0 < masked < size:
        raise ValueError(
            f"mask ratio {ratio} masks {masked} of the {size} tokens in a window of {tuple(window)}; "
            f"take a ratio from {1 / size:.3g} up to and without 1, or a larger region"
        )
    return masked


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
