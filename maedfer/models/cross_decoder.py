"""A cheaper decoder, after CrossMAE (arXiv 2401.14391): mask tokens attend to visible tokens only.

There is no self-attention. What is predicted for a tubelet does not depend on which others are predicted, so
that training may predict any share of them and evaluation all, at a cost that is linear in their number. The
visible tokens are normalised once and stay as they are through all blocks.

Left out: the paper's learnt weighted sum of the encoder's layers as context of each block. Each of its sums
would need a projection to this decoder's width of its own, and with those a forward pass at the published
size, one masked token in six predicted, would cost more than 0.45 of upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import Mlp
from torch import Tensor, nn

from maedfer.models.attention import CrossAttention
from maedfer.models.decoder import Decoder
from maedfer.models.encoder import NORM_EPS


class CrossBlock(nn.Module):
    """Cross-attention to a context and an MLP, norm first, over (B, M, dim)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Attend from `x` (B, M, dim) to `context` (B, V, dim), normalised already."""
        x = x + self.attn(self.attn_norm(x), context)
        return x + self.mlp(self.mlp_norm(x))


class CrossDecoder(Decoder):
    """Mask tokens query the visible tokens, block after block; arguments and errors are `Decoder`'s."""

    def __init__(self, dim: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(dim, *args, **kwargs)
        self.context_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def make_block(self, dim: int, num_heads: int, mlp_ratio: float) -> CrossBlock:
        """A block without self-attention."""
        return CrossBlock(dim, num_heads, mlp_ratio)

    def attend(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Mask tokens (B, M, dim) after all blocks."""
        context = self.context_norm(visible)
        for block in self.blocks:
            masked = self.run(block, masked, context)
        return masked


def attention_of_decoder(state: Mapping[str, Any]) -> str | None:
    """The `decoder_attention` of the masked autoencoder of these parameters; None without a decoder."""
    if "decoder.norm.weight" not in state:
        return None
    return "cross" if "decoder.context_norm.weight" in state else "joint"
