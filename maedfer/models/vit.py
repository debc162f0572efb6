"""The joint-attention video ViT (VideoMAE's encoder): the baseline that LGI-Former is measured against.

All tokens attend to all. The interface is that of `LGIFormer`, without representative tokens: `region_tokens`
is (B, 0, D), and `region_size` is the whole grid, so that a tube mask over the frame is the right one.
"""

from __future__ import annotations

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from maedfer.models.attention import Attention
from maedfer.models.encoder import NORM_EPS, VideoEncoder
from maedfer.models.features import Features


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
        """Attention and MLP on (B, N, dim)."""
        x = x + self.drop_path(self.attn(self.attn_norm(x)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class JointViT(VideoEncoder):
    """The VideoMAE encoder in LGI-Former's width and depth; `VideoEncoder` describes every argument.

    Raises:
        ValueError: as `VideoEncoder`, and for `pool="region"`.
    """

    def __init__(
        self,
        img_size: int = 160,
        num_frames: int = 16,
        patch_size: int = 16,
        tubelet_size: int = 2,
        in_chans: int = 3,
        num_classes: int = 0,
        embed_dim: int = 512,
        depth: int = 16,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        pool: str = "token",
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
        positions: str = "1d",
        fc_norm: bool | None = None,
        init_scale: float = 0.001,
    ) -> None:
        super().__init__(
            None,
            img_size=img_size,
            num_frames=num_frames,
            patch_size=patch_size,
            tubelet_size=tubelet_size,
            in_chans=in_chans,
            num_classes=num_classes,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            pool=pool,
            drop_path_rate=drop_path_rate,
            drop_rate=drop_rate,
            positions=positions,
            fc_norm=fc_norm,
            init_scale=init_scale,
        )

    def make_block(self, drop_path: float) -> JointBlock:
        """One joint-attention block with its stochastic depth."""
        return JointBlock(self.embed_dim, self.num_heads, self.mlp_ratio, drop_path)

    def enter_blocks(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Tokens (B, V, D) as they are."""
        return tokens

    def leave_blocks(self, x: Tensor, visible: Tensor | None) -> Features:
        """Tokens (B, V, D) as they are, and no representative ones."""
        return Features(x, x[:, :0])

    def region_major_places(self, visible: Tensor) -> Tensor:
        """The visible tokens (B, V) never change places: 0, 1, 2, ..."""
        return torch.arange(visible.shape[1], device=visible.device).expand_as(visible)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the model a fresh head, as `VideoEncoder` does.

        Raises:
            ValueError: also for region pooling, which needs representative tokens.
        """
        if (global_pool or self.pool_mode) == "region":
            raise ValueError(
                "pool='region' needs representative tokens; joint attention has none, take pool='token'"
            )
        super().reset_classifier(num_classes, global_pool)
