"""Turns a reconstruction into pixels: what the masked autoencoder saw and predicted, beside the original.

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
    """Holds pixels in 0..1: three videos (B, 3, T, H, W), four with a frame per tubelet (B, 3, T/2, H, W).

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
    clip_01: Tensor, predicted: Tensor, masked: Tensor, patch_size: int, tubelet_size: int
) -> Reconstruction:
    """Puts predicted tubelets into their places.

    Args:
        clip_01: original clips (B, 3, T, H, W), pixels in 0..1.
        predicted: pixels (B, M, P) of the masked tubelets, ordered (frame, row, column, channel).
        masked: int64 (B, M), raster indices of these tubelets.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
    """
    grid = grid_of(clip_01, patch_size, tubelet_size)
    original = clip_01.clamp(0, 1)
    places = masked[..., None].expand_as(predicted)

    def with_masked_as(values: Tensor) -> Tensor:
        tubelets = patchify(original, patch_size, tubelet_size).scatter(1, places, values.clamp(0, 1))
        return unpatchify(tubelets, grid, patch_size, tubelet_size)

    reconstruction = with_masked_as(predicted)
    return Reconstruction(
        original,
        with_masked_as(torch.full_like(predicted, MASK_GREY)),
        reconstruction,
        reconstruction[:, :, ::tubelet_size],
        original[:, :, ::tubelet_size],
        show_motion(reconstruction, tubelet_size),
        show_motion(original, tubelet_size),
    )


def show_motion(video: Tensor, tubelet_size: int) -> Tensor:
    """Subtracts first from second frames of tubelets, around 0.5: (B, 3, T, H, W) to (B, 3, T/2, H, W)."""
    return (video[:, :, 1::tubelet_size] - video[:, :, ::tubelet_size]).div(2).add(0.5)
