"""Tubelets (the paper's cubes): cutting clips into them and embedding them (its cube embedding).

A tubelet is `tubelet_size` frames of a `patch_size` square; the tubelets of a clip are its tokens, in raster
order (t, h, w). Upstream embeds all of them with a Conv3d and then drops the masked nine tenths; here the
weights are the same Conv3d's, but only the requested tubelets are read and multiplied.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from maedfer.errors import UserError


def token_grid(num_frames: int, img_size: int, patch_size: int, tubelet_size: int) -> tuple[int, int, int]:
    """Returns the tokens of a clip along (t, h, w).

    Raises:
        UserError: a size is not positive, or tubelets do not divide the clip.
    """
    sizes = {
        "num_frames": num_frames,
        "img_size": img_size,
        "patch_size": patch_size,
        "tubelet_size": tubelet_size,
    }
    for name, size in sizes.items():
        if size < 1:
            raise UserError(name, f"{size} is not positive")
    if img_size % patch_size:
        raise UserError("patch_size", f"{patch_size} does not divide img_size={img_size}")
    if num_frames % tubelet_size:
        raise UserError("tubelet_size", f"{tubelet_size} does not divide num_frames={num_frames}")
    return (num_frames // tubelet_size, img_size // patch_size, img_size // patch_size)


def grid_of(clip: Tensor, patch_size: int, tubelet_size: int) -> tuple[int, int, int]:
    """Returns the tokens (t, h, w) of clips (B, C, T, H, W)."""
    t, h, w = clip.shape[2:]
    return (t // tubelet_size, h // patch_size, w // patch_size)


def patchify(clip: Tensor, patch_size: int, tubelet_size: int) -> Tensor:
    """Cuts clips (B, C, T, H, W) into tubelets (B, N, P), P ordered (frame, row, column, channel)."""
    pattern = "b c (t f) (h y) (w x) -> b (t h w) (f y x c)"
    return rearrange(clip, pattern, f=tubelet_size, y=patch_size, x=patch_size)


def unpatchify(tubelets: Tensor, grid: tuple[int, int, int], patch_size: int, tubelet_size: int) -> Tensor:
    """Puts tubelets (B, N, P) back together to clips (B, C, T, H, W): the inverse of `patchify`."""
    t, h, w = grid
    pattern = "b (t h w) (f y x c) -> b c (t f) (h y) (w x)"
    return rearrange(tubelets, pattern, t=t, h=h, w=w, f=tubelet_size, y=patch_size, x=patch_size)


class TubeletLinear(nn.Conv3d):
    """Applies upstream's Conv3d (kernel = stride = tubelet) to tubelets that are already cut out."""

    def forward(self, cubes: Tensor) -> Tensor:
        """Maps flat tubelets (B, N, channel * frame * row * column) to tokens (B, N, D)."""
        return F.linear(cubes, self.weight.flatten(1), self.bias)


class TubeletEmbedding(nn.Module):
    """Maps tubelets to tokens linearly."""

    def __init__(self, in_chans: int, embed_dim: int, patch_size: int, tubelet_size: int) -> None:
        super().__init__()
        kernel = (tubelet_size, patch_size, patch_size)
        self.patch_size, self.tubelet_size = patch_size, tubelet_size
        self.proj = TubeletLinear(in_chans, embed_dim, kernel_size=kernel, stride=kernel)

    def forward(self, clip: Tensor, indices: Tensor | None = None) -> Tensor:
        """Embeds clips (B, C, T, H, W), all tubelets or those at `indices` (B, M): tokens (B, N or M, D)."""
        pattern = "b c (t f) (h y) (w x) -> b t h w c f y x"
        cubes = rearrange(clip, pattern, f=self.tubelet_size, y=self.patch_size, x=self.patch_size)
        if indices is None:
            return self.proj(rearrange(cubes, "b t h w c f y x -> b (t h w) (c f y x)"))
        height, width = cubes.shape[2:4]
        batch = torch.arange(clip.shape[0], device=clip.device)[:, None]
        # A view so far: only the tubelets that are asked for are copied.
        chosen = cubes[batch, indices // (height * width), indices // width % height, indices % width]
        return self.proj(chosen.flatten(2))
