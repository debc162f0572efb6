"""Appearance and motion targets of masked tubelets (paper section 3; upstream's frame difference).

Pixels of a tubelet are normalised per colour channel, over all its frames together. The first frame is the
*appearance* target; the *motion* target is every later frame minus the first, after normalisation, so motion
is measured in standard deviations of its tubelet. The P = 2 * p * p * 3 values of a tubelet are ordered
(frame, row, column, channel), channel fastest: the first half is appearance, the second motion. The paper's
formula omits the normalisation.

`motion_group` (see `motion_groups`) measures motion from the first of every `motion_group` frames of the clip
instead of the first of a tubelet, each frame normalised with its own tubelet. The halves of a target are then
the first and the later frames of its tubelet, whatever they contain.

`target_std_floor` is ours: it enters the standard deviation as sqrt(var + floor^2), so that flat, noisy
tubelets are not blown up to unit variance. 0 is upstream.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from maedfer.models.motion_groups import differences, sums
from maedfer.models.tubelets import grid_of, patchify, unpatchify

STD_EPS = 1e-6


def _read(clip: Tensor, indices: Tensor, patch_size: int, tubelet_size: int) -> Tensor:
    """Reads some tubelets with colour channels apart: (B, M, C, frame * row * column).

    Most tubelets are masked, so that one copy of the clip and a gather of whole rows beats a strided gather.
    """
    pattern = "b c (t f) (h y) (w x) -> b (t h w) c (f y x)"
    rows = rearrange(clip, pattern, f=tubelet_size, y=patch_size, x=patch_size)
    return rows[torch.arange(clip.shape[0], device=clip.device)[:, None], indices]


def _centre(tubelets: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns values minus their mean, that mean, and the floored deviation, per tubelet and channel.

    Two passes are faster than `torch.var_mean` here, and as exact on nearly flat tubelets.
    """
    mean = tubelets.mean(dim=-1, keepdim=True)
    centred = tubelets - mean
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    std = norm / math.sqrt(tubelets.shape[-1] - 1)
    return centred, mean, (std.square() + floor**2).sqrt() + STD_EPS


def appearance_size(patch_size: int, in_chans: int = 3) -> int:
    """Counts the values of the appearance target of a tubelet, which is one frame of it."""
    return in_chans * patch_size**2


def split_target(values: Tensor, patch_size: int, in_chans: int = 3) -> tuple[Tensor, Tensor]:
    """Splits targets or predictions (..., P) into the appearance and the motion part."""
    appearance, motion = values.tensor_split([appearance_size(patch_size, in_chans)], dim=-1)
    return appearance, motion


def reconstruction_targets(
    clip_01: Tensor,
    masked: Tensor,
    patch_size: int,
    tubelet_size: int = 2,
    target_std_floor: float = 0.0,
    motion_group: int | None = None,
) -> Tensor:
    """Computes the targets of masked tubelets; others are read only where motion is measured from them.

    Args:
        clip_01: pixels in 0..1, (B, C, T, H, W).
        masked: int64 (B, M), raster indices.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
        target_std_floor: smallest deviation that is distinguished from noise, in pixel units 0..1.
        motion_group: frames whose motion is measured from the first of them; those of a tubelet when None.

    Returns:
        (B, M, P), appearance first.
    """
    if motion_group not in (None, tubelet_size):
        everything = _grouped(clip_01, patch_size, tubelet_size, target_std_floor, motion_group)
        return everything.gather(1, masked[..., None].expand(-1, -1, everything.shape[-1]))
    centred, _, std = _centre(_read(clip_01, masked, patch_size, tubelet_size), target_std_floor)
    appearance, later = (centred / std).tensor_split([patch_size**2], dim=-1)
    motion = later - appearance.repeat(1, 1, 1, tubelet_size - 1)
    return rearrange(torch.cat((appearance, motion), dim=-1), "b m c p -> b m (p c)")


def targets_to_pixels(
    values: Tensor,
    clip_01: Tensor,
    indices: Tensor,
    patch_size: int,
    tubelet_size: int = 2,
    target_std_floor: float = 0.0,
    motion_group: int | None = None,
) -> Tensor:
    """Turns targets, or predictions of them, back into pixels: the inverse of `reconstruction_targets`.

    Mean and deviation are not predicted; they are taken from the original tubelets, as masked autoencoders
    show their reconstructions. Motion that is measured from a frame of another tubelet is added to what
    `values` hold for that one, or to the original where they do not contain it.

    Args:
        values: (B, M, P), appearance first.
        clip_01: the original clips, pixels in 0..1.
        indices: int64 (B, M), the tubelets that `values` describe.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
        target_std_floor: as it was for the targets.
        motion_group: as it was for the targets.

    Returns:
        Pixels (B, M, P), ordered (frame, row, column, channel), not clipped.
    """
    if motion_group not in (None, tubelet_size):
        normalised = _normalised(clip_01, patch_size, tubelet_size, target_std_floor)
        values = _undo_groups(normalised, values, indices, patch_size, tubelet_size, motion_group)
    _, mean, std = _centre(_read(clip_01, indices, patch_size, tubelet_size), target_std_floor)
    normalised = rearrange(values, "b m (p c) -> b m c p", c=clip_01.shape[1])
    if motion_group in (None, tubelet_size):
        appearance, motion = normalised.tensor_split([patch_size**2], dim=-1)
        normalised = torch.cat((appearance, motion + appearance.repeat(1, 1, 1, tubelet_size - 1)), dim=-1)
    return rearrange(normalised * std + mean, "b m c p -> b m (p c)")


def _grouped(clip_01: Tensor, patch_size: int, tubelet_size: int, floor: float, group: int) -> Tensor:
    """Computes the targets (B, N, P) of all tubelets, as motion is measured from frames of others.

    The frames of a place stay side by side in all copies, which takes half of the time of restoring clips.
    """
    pattern = "b c (t f) (h y) (w x) -> b (h w) c t (f y x)"
    places = rearrange(clip_01, pattern, f=tubelet_size, y=patch_size, x=patch_size)
    centred, _, std = _centre(places, floor)
    frames = rearrange(centred / std, "b s c t (f p) -> b s c (t f) p", f=tubelet_size)
    frames = differences(frames, group, dim=3)
    return rearrange(frames, "b s c (t f) p -> b (t s) (f p c)", f=tubelet_size)


def _normalised(clip_01: Tensor, patch_size: int, tubelet_size: int, floor: float) -> Tensor:
    """Normalises every tubelet of clips (B, C, T, H, W)."""
    grid = grid_of(clip_01, patch_size, tubelet_size)
    everything = torch.arange(math.prod(grid), device=clip_01.device).expand(len(clip_01), -1)
    centred, _, std = _centre(_read(clip_01, everything, patch_size, tubelet_size), floor)
    tubelets = rearrange(centred / std, "b n c p -> b n (p c)")
    return unpatchify(tubelets, grid, patch_size, tubelet_size)


def _undo_groups(
    normalised: Tensor, values: Tensor, indices: Tensor, patch_size: int, tubelet_size: int, group: int
) -> Tensor:
    """Returns the normalised pixels (B, M, P) whose differences `values` at `indices` are."""
    grid = grid_of(normalised, patch_size, tubelet_size)
    places = indices[..., None].expand_as(values)
    targets = patchify(differences(normalised, group), patch_size, tubelet_size).scatter(1, places, values)
    clip = sums(unpatchify(targets, grid, patch_size, tubelet_size), group)
    return patchify(clip, patch_size, tubelet_size).gather(1, places)
