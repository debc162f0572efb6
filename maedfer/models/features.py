"""The tokens that an encoder returns, and the choice of blocks whose tokens are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from maedfer.errors import UserError

TokenKind = Literal["representative", "local"]
REPRESENTATIVE: TokenKind = "representative"
LOCAL: TokenKind = "local"


class Features(NamedTuple):
    """Two kinds of tokens.

    Attributes:
        tokens: local tokens (B, N, D) in raster order, or in the order of the visible indices asked for.
        region_tokens: representative tokens (B, R, D), raster order of the regions; R is 0 in joint
            attention.
    """

    tokens: Tensor
    region_tokens: Tensor


def take_blocks(depth: int, indices: int | Sequence[int] | None) -> tuple[set[int], int]:
    """Returns the blocks that `indices` stands for (all, the last n, or a list), and the last of them.

    Raises:
        UserError: an index without a block.
    """
    if indices is None or isinstance(indices, int):
        indices = range(-(depth if indices is None else indices), 0)
    taken = {index + depth if index < 0 else index for index in indices}
    if not taken or not all(0 <= index < depth for index in taken):
        raise UserError("indices", f"{list(indices)} must name some of the blocks 0..{depth - 1}")
    return taken, max(taken)
