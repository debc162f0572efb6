"""The joint-attention video ViT (VideoMAE's encoder): the baseline that LGI-Former is measured against.

All tokens attend to all. The interface is that of `LGIFormer`, without representative tokens: `region_tokens`
is (B, 0, D), and `region_size` is the whole grid, so that a tube mask over the frame fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from maedfer.models.arguments import EncoderArgs
from maedfer.models.attention import Attention
from maedfer.models.encoder import NORM_EPS, VideoEncoder
from maedfer.models.features import LOCAL, Features
from maedfer.models.pooling import POOLINGS, pool_name, without_region_tokens


class JointBlock(nn.Module):
    """A plain transformer block, norm first, over (B, N, dim); also the block of the pre-training decoder."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, num_heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Applies attention and MLP to (B, N, dim)."""
        x = x + self.drop_path(self.attn(self.attn_norm(x)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


@dataclass(frozen=True, kw_only=True)
class JointViTArgs(EncoderArgs):
    """Constructor arguments of `JointViT`: those of every encoder, with a pooling that it has."""

    pool: str = "token"


class JointViT(VideoEncoder):
    """The VideoMAE encoder in LGI-Former's width and depth; its arguments are `JointViTArgs`, by keyword.

    Raises:
        UserError: as `VideoEncoder`, and for `pool="region"`.
    """

    Args = JointViTArgs

    def make_block(self, drop_path: float) -> JointBlock:
        """Builds a joint-attention block with its stochastic depth."""
        return JointBlock(self.embed_dim, self.num_heads, self.args.mlp_ratio, drop_path)

    def enter_blocks(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Returns the tokens (B, V, D) unchanged."""
        return tokens

    def leave_blocks(self, x: Tensor, visible: Tensor | None) -> Features:
        """Returns the tokens (B, V, D) unchanged, and no representative ones."""
        return Features(x, x[:, :0])

    def region_major_places(self, visible: Tensor) -> Tensor:
        """Returns 0, 1, 2, ...: the visible tokens (B, V) never change places."""
        return torch.arange(visible.shape[1], device=visible.device).expand_as(visible)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the head by a fresh one, as `VideoEncoder` does.

        Raises:
            UserError: also for a pooling of representative tokens alone, which there are not.
        """
        if LOCAL not in POOLINGS[pool_name(global_pool or self.pool_mode)].reads:
            raise without_region_tokens()
        super().reset_classifier(num_classes, global_pool)
