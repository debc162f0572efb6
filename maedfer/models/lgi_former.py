"""LGI-Former: the local-global interaction transformer of MAE-DFER (paper section 3, arXiv 2307.02227).

Tokens are grouped in regions, and each region has one learnable representative token. A block has three
attention stages and one MLP, all residual with the norm before, as the paper's equations have them:

1. local intra-region: a region's tokens and its representative token attend to each other;
2. global inter-region: the representative tokens of all regions attend to each other;
3. local-global: every local token attends to the representative tokens of all regions;
4. one MLP, shared by both kinds of tokens.

As upstream: attention without key bias, representative tokens without position code, drop path that drops
whole regions in stages 1 and 4 but whole clips in stages 2 and 3 (the paper says per sample). Departures:
tokens are grouped by index, so any region that divides the grid works, with any mask of equal counts; and
evaluation without gradients skips what a classifier that pools representative tokens cannot see of its last
block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from maedfer.models.attention import CrossAttention
from maedfer.models.encoder import NORM_EPS, VideoEncoder
from maedfer.models.features import Features


class LGIBlock(nn.Module):
    """A local-global interaction block over (B*R, 1+n, dim), the representative token first in its region."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, num_regions: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.num_regions = num_regions
        self.intra_region_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.intra_region_attn = CrossAttention(dim, num_heads)
        self.inter_region_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.inter_region_attn = CrossAttention(dim, num_heads)
        self.local_global_norm_token = nn.LayerNorm(dim, eps=NORM_EPS)
        self.local_global_norm_region = nn.LayerNorm(dim, eps=NORM_EPS)
        self.local_global_attn = CrossAttention(dim, num_heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the four stages on (B*R, 1+n, dim)."""
        normed = self.intra_region_norm(x)
        x = x + self.drop_path(self.intra_region_attn(normed, normed))
        regions = self._inter_region(self._of_clips(x[:, :1]))
        tokens = self._local_global(self._of_clips(x[:, 1:]), regions)
        x = torch.cat((self._of_regions(regions), self._of_regions(tokens)), dim=1)
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))

    def forward_region_tokens(self, x: Tensor) -> Tensor:
        """The representative tokens (B, R, dim) of `forward`, without the work for the local ones."""
        normed = self.intra_region_norm(x)
        regions = x[:, :1] + self.drop_path(self.intra_region_attn(normed[:, :1], normed))
        regions = self._inter_region(self._of_clips(regions))
        return regions + self.drop_path(self.mlp(self.mlp_norm(regions)))

    def _inter_region(self, regions: Tensor) -> Tensor:
        normed = self.inter_region_norm(regions)
        return regions + self.drop_path(self.inter_region_attn(normed, normed))

    def _local_global(self, tokens: Tensor, regions: Tensor) -> Tensor:
        context = self.local_global_norm_region(regions)
        return tokens + self.drop_path(self.local_global_attn(self.local_global_norm_token(tokens), context))

    def _of_clips(self, x: Tensor) -> Tensor:
        return rearrange(x, "(b r) n d -> b (r n) d", r=self.num_regions)

    def _of_regions(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (r n) d -> (b r) n d", r=self.num_regions)


class LGIFormer(VideoEncoder):
    """The encoder of MAE-DFER; every argument is described in `VideoEncoder`.

    `region_size` counts tokens along (t, h, w); (2, 5, 10) of the (8, 10, 10) grid makes 4 time steps of
    upper and lower face. The defaults are the published encoder: 84,874,752 parameters, 84,878,343 with 7
    classes.
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
        region_size: Sequence[int] = (2, 5, 10),
        pool: str = "region",
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
        positions: str = "1d",
        fc_norm: bool | None = None,
        init_scale: float = 0.001,
    ) -> None:
        super().__init__(
            region_size,
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
        self.region_tokens = nn.Parameter(torch.empty(self.num_regions, embed_dim))
        # Upstream cuts the normal at one sigma before pre-training, and not at all in a classifier.
        cut = 0.02 if isinstance(self.norm, nn.LayerNorm) else 2.0
        nn.init.trunc_normal_(self.region_tokens, std=0.02, a=-cut, b=cut)
        self.register_buffer("region_order", self.layout.region_order, persistent=False)
        self.register_buffer("region_rank", self.layout.region_rank, persistent=False)

    def make_block(self, drop_path: float) -> LGIBlock:
        """One LGI block with its stochastic depth."""
        return LGIBlock(self.embed_dim, self.num_heads, self.mlp_ratio, self.num_regions, drop_path)

    def enter_blocks(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Group tokens (B, V, D) by region and put the representative tokens in front: (B*R, 1 + V/R, D)."""
        if visible is None:
            tokens = tokens[:, self.region_order]
        else:
            tokens = take_tokens(tokens, self.region_rank[visible].argsort(dim=1))
        grouped = rearrange(tokens, "b (r n) d -> (b r) n d", r=self.num_regions)
        representative = repeat(self.region_tokens, "r d -> (b r) 1 d", b=tokens.shape[0])
        return torch.cat((representative.to(grouped.dtype), grouped), dim=1)

    def leave_blocks(self, x: Tensor, visible: Tensor | None) -> Features:
        """Take (B*R, 1 + V/R, D) apart, the local tokens in raster order or in that of `visible`."""
        x = rearrange(x, "(b r) n d -> b r n d", r=self.num_regions)
        tokens = rearrange(x[:, :, 1:], "b r n d -> b (r n) d")
        if visible is None:
            return Features(tokens[:, self.region_rank], x[:, :, 0])
        return Features(take_tokens(tokens, self.region_major_places(visible)), x[:, :, 0])

    def region_major_places(self, visible: Tensor) -> Tensor:
        """Place of each visible token (B, V) among them in region-major order, int64 (B, V)."""
        return self.region_rank[visible].argsort(dim=1).argsort(dim=1)

    def freeze_unpooled(self) -> None:
        """Freeze what gets no gradient under region pooling: the last block's local-global stage.

        Its results are local tokens, which nothing reads then. Data-parallel training waits for a gradient of
        every parameter that is not frozen.
        """
        if self.pool_mode == "region":
            last = self.blocks[-1]
            for stage in (
                last.local_global_norm_token,
                last.local_global_norm_region,
                last.local_global_attn,
            ):
                stage.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K), or pooled features (B, D), of clips (B, 3, T, H, W).

        In evaluation without gradients and with region pooling, the last block computes its representative
        tokens only (5 percent less work in the published classifier, the same result).
        """
        if self.training or torch.is_grad_enabled() or self.pool_mode != "region":
            return super().forward(x)
        x = self.enter_blocks(self.embed(x), None)
        for block in self.blocks[:-1]:
            x = block(x)
        region_tokens = self.norm(self.blocks[-1].forward_region_tokens(x))
        return self.forward_head(Features(region_tokens[:, :0], region_tokens))


def take_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens (B, N, D) at `places` (B, V), another choice in every clip: (B, V, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
