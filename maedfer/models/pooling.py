"""Poolings: how the tokens of a clip become one vector, by a mean over some of them or by learned attention.

To add a pooling, add a subclass of `Pooling` and its name in `PoolName` and `POOLINGS`. Encoders, probes,
saved folders and training read its properties from the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

import torch
from einops import repeat
from torch import Tensor, nn

from maedfer.errors import UserError
from maedfer.models.attention import CrossAttention
from maedfer.models.features import LOCAL, REPRESENTATIVE, Features, TokenKind
from maedfer.models.initialisation import init_linears

PoolName = Literal["region", "token", "all", "attentive"]


class Pooling(nn.Module, ABC):
    """Turns the tokens of a clip into one vector; it belongs to the head.

    Attributes:
        reads: kinds of tokens that it reads; the others get no gradient from a head.
        learned: whether it has weights. A learned pooling reads tokens behind the encoder's final norm, which
            therefore stays in a classifier; after a mean, a classifier has a norm of its own.

    Args:
        dim: width of the tokens.
        num_heads: attention heads, of a pooling that has some.
    """

    reads: ClassVar[frozenset[TokenKind]]
    learned: ClassVar[bool] = False

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Returns one vector per clip, (B, D)."""


class RegionMean(Pooling):
    """Averages the representative tokens, as published."""

    reads = frozenset((REPRESENTATIVE,))

    def forward(self, features: Features) -> Tensor:
        """Returns (B, D).

        Raises:
            UserError: the features have no representative tokens.
        """
        if features.region_tokens.shape[1] == 0:
            raise without_region_tokens()
        return features.region_tokens.mean(dim=1)


class TokenMean(Pooling):
    """Averages the local tokens."""

    reads = frozenset((LOCAL,))

    def forward(self, features: Features) -> Tensor:
        """Returns (B, D)."""
        return features.tokens.mean(dim=1)


class AllMean(Pooling):
    """Averages all tokens."""

    reads = frozenset((REPRESENTATIVE, LOCAL))

    def forward(self, features: Features) -> Tensor:
        """Returns (B, D)."""
        return all_tokens(features).mean(dim=1)


class AttentivePool(Pooling):
    """Attends from a learned query to all tokens: the pooling of attentive probes (CAE, arXiv 2202.03026).

    Cross-attention alone, like that of the blocks: 4 D^2 weights, as labels are few. Others (V-JEPA) add an
    MLP.
    """

    reads = frozenset((REPRESENTATIVE, LOCAL))
    learned = True

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(dim), std=0.02))
        self.attn = CrossAttention(dim, num_heads)
        init_linears(self, classifier=True)

    def forward(self, features: Features) -> Tensor:
        """Returns (B, D)."""
        tokens = all_tokens(features)
        query = repeat(self.query, "d -> b 1 d", b=tokens.shape[0])
        return self.attn(query.to(tokens.dtype), tokens)[:, 0]


POOLINGS: dict[PoolName, type[Pooling]] = {
    "region": RegionMean,
    "token": TokenMean,
    "all": AllMean,
    "attentive": AttentivePool,
}


def pool_name(name: str) -> PoolName:
    """Returns the name of a pooling.

    Raises:
        UserError: there is no such pooling.
    """
    if name not in POOLINGS:
        raise UserError("pool", f"{name!r} is not one of {get_args(PoolName)}")
    return name


def pool_features(features: Features, name: str) -> Tensor:
    """Averages tokens to (B, D) by the name of a pooling without weights.

    Raises:
        UserError: the pooling has weights, or reads representative tokens that there are not.
    """
    kind = POOLINGS[pool_name(name)]
    if kind.learned:
        raise UserError(
            "pool", f"{name!r} has weights: reset_classifier(num_classes, {name!r}) gives the model new ones"
        )
    return kind(features.tokens.shape[-1], num_heads=1)(features)


def all_tokens(features: Features) -> Tensor:
    """Concatenates representative tokens and local ones: (B, R+N, D)."""
    return torch.cat((features.region_tokens, features.tokens), dim=1)


def without_region_tokens() -> UserError:
    """Returns the error for a pooling of representative tokens where there are none."""
    return UserError("pool", "'region' needs representative tokens; joint attention has none, take 'token'")
