"""A reconstruction as pixels: what the masked autoencoder saw, what it guessed, and how far it is off.

Only tensors are made here; figures are drawn elsewhere. The first frame of a tubelet shows appearance, the
difference of its second frame to the first shows motion.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maedfer.models.tubelets import grid_of, patchify, unpatchify

MASK_GREY = 0.5


class Reconstruction(NamedTuple):
    """Pixels in 0..1; three videos (B, 3, T, H, W), and four with one frame per tubelet (B, 3, T/2, H, W).

    Attributes:
        original: the clip.
        masked_input: the clip with masked tubelets in grey.
        reconstruction: masked tubelets as predicted, visible ones as they were.
        appearance: first frames of the reconstruction's tubelets.
        appearance_original: first frames of the clip's tubelets.
        motion: second minus first frame of the reconstruction's tubelets, 0.5 = no motion.
        motion_original: second minus first frame of the clip's tubelets, 0.5 = no motion.
    """

    original: Tensor
    masked_input: Tensor
    reconstruction: Tensor
    appearance: Tensor
    appearance_original: Tensor
    motion: Tensor
    motion_original: Tensor


def draw_reconstruction(
    clip_01: Tensor, guessed: Tensor, masked: Tensor, patch_size: int, tubelet_size: int
) -> Reconstruction:
    """Put guessed tubelets into their places.

    Args:
        clip_01: original clips (B, 3, T, H, W), pixels in 0..1.
        guessed: pixels (B, M, P) of the masked tubelets, ordered (frame, row, column, channel).
        masked: int64 (B, M), their raster indices.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
    """
    grid = grid_of(clip_01, patch_size, tubelet_size)
    original = clip_01.clamp(0, 1)
    places = masked[..., None].expand_as(guessed)

    def with_masked_as(values: Tensor) -> Tensor:
        tubelets = patchify(original, patch_size, tubelet_size).scatter(1, places, values.clamp(0, 1))
        return unpatchify(tubelets, grid, patch_size, tubelet_size)

    reconstruction = with_masked_as(guessed)
    return Reconstruction(
        original,
        with_masked_as(torch.full_like(guessed, MASK_GREY)),
        reconstruction,
        reconstruction[:, :, ::tubelet_size],
        original[:, :, ::tubelet_size],
        show_motion(reconstruction, tubelet_size),
        show_motion(original, tubelet_size),
    )


def show_motion(video: Tensor, tubelet_size: int) -> Tensor:
    """Second minus first frame of the tubelets of (B, 3, T, H, W), around 0.5: (B, 3, T/2, H, W) in 0..1."""
    return (video[:, :, 1::tubelet_size] - video[:, :, ::tubelet_size]).div(2).add(0.5)
