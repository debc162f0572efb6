"""How tokens become one vector per clip: a mean over some of them, or a learned query that attends to all."""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor, nn

from maedfer.models.attention import CrossAttention
from maedfer.models.features import Features
from maedfer.models.initialisation import init_linears

MEANS = ("region", "token", "all")
ATTENTIVE = "attentive"


def check_pool(mode: str) -> str:
    """Refuse an unknown pooling.

    Raises:
        ValueError: names what there is.
    """
    if mode not in (*MEANS, ATTENTIVE):
        raise ValueError(f"pool={mode!r} is not one of {(*MEANS, ATTENTIVE)}")
    return mode


def pool_features(features: Features, mode: str) -> Tensor:
    """A bare mean (B, D) of representative tokens (`region`, as published), local ones (`token`) or `all`.

    Raises:
        ValueError: not one of these, or `region` of features without representative tokens.
    """
    if check_pool(mode) == ATTENTIVE:
        raise ValueError(
            "pool='attentive' needs a learned query: reset_classifier(n, 'attentive') gives the model one"
        )
    if mode == "all":
        return all_tokens(features).mean(dim=1)
    chosen = features.region_tokens if mode == "region" else features.tokens
    if chosen.shape[1] == 0:
        raise ValueError(
            "pool='region' needs representative tokens; joint attention has none, take pool='token'"
        )
    return chosen.mean(dim=1)


def all_tokens(features: Features) -> Tensor:
    """Representative tokens, then local ones: (B, R+N, D)."""
    return torch.cat((features.region_tokens, features.tokens), dim=1)


class AttentivePool(nn.Module):
    """A learned query attends to all tokens: the pooling of attentive probes (CAE, arXiv 2202.03026).

    Cross-attention alone, like that of the blocks: 4 D^2 weights, as labels are few. Others (V-JEPA) add an
    MLP.

    Args:
        dim: width of the tokens.
        num_heads: attention heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(dim), std=0.02))
        self.attn = CrossAttention(dim, num_heads)
        init_linears(self, classifier=True)

    def forward(self, features: Features) -> Tensor:
        """One vector per clip, (B, D)."""
        tokens = all_tokens(features)
        query = repeat(self.query, "d -> b 1 d", b=tokens.shape[0])
        return self.attn(query.to(tokens.dtype), tokens)[:, 0]
