"""What an encoder returns, which of its blocks to keep, and how tokens become one vector per clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

POOLS = ("region", "token", "all")


class Features(NamedTuple):
    """Two kinds of tokens.

    Attributes:
        tokens: local tokens (B, N, D) in raster order, or in the order of the visible indices asked for.
        region_tokens: representative tokens (B, R, D), raster order of the regions; R is 0 in joint
            attention.
    """

    tokens: Tensor
    region_tokens: Tensor


def check_pool(mode: str) -> str:
    """Refuse an unknown pooling.

    Raises:
        ValueError: names what there is.
    """
    if mode not in POOLS:
        raise ValueError(f"pool={mode!r} is not one of {POOLS}")
    return mode


def pool_features(features: Features, mode: str) -> Tensor:
    """A bare mean (B, D) of representative tokens (`region`, as published), local ones (`token`) or `all`.

    Raises:
        ValueError: unknown mode, or `region` of features without representative tokens.
    """
    if check_pool(mode) == "all":
        return torch.cat((features.region_tokens, features.tokens), dim=1).mean(dim=1)
    chosen = features.region_tokens if mode == "region" else features.tokens
    if chosen.shape[1] == 0:
        raise ValueError(
            "pool='region' needs representative tokens; joint attention has none, take pool='token'"
        )
    return chosen.mean(dim=1)


def take_blocks(depth: int, indices: int | Sequence[int] | None) -> tuple[set[int], int]:
    """The blocks that `indices` means (all, the last n, or a list), and the last of them.

    Raises:
        ValueError: an index without a block.
    """
    if indices is None or isinstance(indices, int):
        indices = range(-(depth if indices is None else indices), 0)
    taken = {index + depth if index < 0 else index for index in indices}
    if not taken or not all(0 <= index < depth for index in taken):
        raise ValueError(f"indices={list(indices)} do not name some of the blocks 0..{depth - 1}")
    return taken, max(taken)
