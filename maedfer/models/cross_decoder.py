"""A cheaper decoder, after CrossMAE (arXiv 2401.14391): mask tokens attend to visible tokens only.

There is no self-attention. The prediction of a tubelet does not depend on which others are predicted, so that
training may predict any share of them and evaluation all, at a cost that is linear in their number. The
visible tokens are normalised once and stay unchanged through all blocks.

Left out: the paper's learnt weighted sum of the encoder's layers as context of each block. Each sum needs its
own projection to this decoder's width, and with those a forward pass at the published size, one masked token
in six predicted, would cost more than 0.45 of upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers.mlp import Mlp
from torch import Tensor, nn

from maedfer.models.attention import CrossAttention
from maedfer.models.decoder import Decoder
from maedfer.models.encoder import NORM_EPS


class CrossBlock(nn.Module):
    """Applies cross-attention to a context and an MLP, norm first, over (B, M, dim)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Attends from `x` (B, M, dim) to `context` (B, V, dim), normalised already."""
        x = x + self.attn(self.attn_norm(x), context)
        return x + self.mlp(self.mlp_norm(x))


class CrossDecoder(Decoder):
    """Lets mask tokens query the visible ones in every block; arguments and errors are those of `Decoder`."""

    def __init__(self, *, dim: int, **sizes: Any) -> None:
        super().__init__(dim=dim, **sizes)
        self.context_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def make_block(self, dim: int, num_heads: int, mlp_ratio: float) -> CrossBlock:
        """Builds a block without self-attention."""
        return CrossBlock(dim, num_heads, mlp_ratio)

    def attend(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Runs the blocks; returns the mask tokens (B, M, dim)."""
        context = self.context_norm(visible)
        for block in self.blocks:
            masked = self.run(block, masked, context)
        return masked


def attention_of_decoder(state: Mapping[str, Any]) -> str | None:
    """Returns the `decoder_attention` of a state dict of a masked autoencoder; None without a decoder."""
    if "decoder.norm.weight" not in state:
        return None
    return "cross" if "decoder.context_norm.weight" in state else "joint"
