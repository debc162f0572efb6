"""Fixed sine-cosine position codes of tokens (upstream's flattened 1-D table, and a 3-D one).

The paper adds one code per token before masking. Upstream numbers the tokens 0..N-1 in raster order and codes
that single number ("1d", the default here and what released weights were trained with); "3d" codes time, row
and column in separate thirds of the channels, which a small model learns faster from. Tables are computed in
float64 and stored in float32, and never enter a state dict.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maedfer.errors import UserError

POSITIONS = ("1d", "3d")


def sincos_of(places: Tensor, dim: int) -> Tensor:
    """Codes places by sine (even channels) and cosine (odd channels) of `place / 10000^(2 floor(j/2) / dim)`.

    Args:
        places: any numbers, shape (N,).
        dim: channels.

    Returns:
        float64, shape (N, dim).
    """
    channel = torch.arange(dim, dtype=torch.float64)
    angles = places.double()[:, None] / 10000 ** (2 * (channel // 2) / dim)
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos())


def sincos_1d(num_tokens: int, dim: int) -> Tensor:
    """Codes the flattened token index 0..num_tokens-1: upstream's table.

    Returns:
        float32, shape (num_tokens, dim).
    """
    return sincos_of(torch.arange(num_tokens), dim).float()


def sincos_3d(grid: tuple[int, int, int], dim: int) -> Tensor:
    """Codes time, row and column apart: a third of the channels each, and the remainder to time.

    Args:
        grid: tokens in (t, h, w).
        dim: channels, even and at least 6.

    Returns:
        float32, shape (t*h*w, dim), raster order.

    Raises:
        UserError: too few channels, or an odd number.
    """
    if dim < 6 or dim % 2:
        raise UserError("positions", f"'3d' needs an even width of at least 6, and embed_dim is {dim}")
    part = 2 * (dim // 6)
    axes = torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij")
    codes = [
        sincos_of(axis.flatten(), size) for axis, size in zip(axes, (dim - 2 * part, part, part), strict=True)
    ]
    return torch.cat(codes, dim=1).float()


def position_table(kind: str, grid: tuple[int, int, int], dim: int) -> Tensor:
    """Returns the table of a token grid by its name, shape (t*h*w, dim).

    Raises:
        UserError: the name is not one of `POSITIONS`.
    """
    if kind == "1d":
        return sincos_1d(grid[0] * grid[1] * grid[2], dim)
    if kind == "3d":
        return sincos_3d(grid, dim)
    raise UserError("positions", f"{kind!r} is not one of {POSITIONS}")
