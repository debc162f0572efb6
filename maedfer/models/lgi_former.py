"""LGI-Former: the local-global interaction transformer of MAE-DFER (paper section 3, arXiv 2307.02227).

Tokens are grouped in regions, and each region has one learnable representative token; `lgi_block` has the
attention between them, and its variants. As upstream, representative tokens have no position code.
Departures: tokens are grouped by index, so any region that divides the grid works, with any mask of equal
counts; and evaluation without gradients skips what a classifier that pools representative tokens cannot see
of its last block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from maedfer.models.encoder import VideoEncoder
from maedfer.models.features import Features
from maedfer.models.lgi_block import LGIBlock


class LGIFormer(VideoEncoder):
    """The encoder of MAE-DFER; `VideoEncoder` describes every argument but the last four.

    `region_size` counts tokens along (t, h, w); (2, 5, 10) of the (8, 10, 10) grid makes 4 time steps of
    upper and lower face. The defaults are the published encoder: 84,874,752 parameters, 84,878,343 with 7
    classes.

    Args:
        intra_region: who attends in a region: `self` (all its tokens) or `cross` (its representative token).
        inter_region: whether representative tokens attend to each other.
        local_global: what local tokens attend to then: `cross` (the representative tokens of all regions),
            `self` (their own region again) or `none`.
        share_attention: weights that attention stages share: `none`, `first_third` or `all`.

    Raises:
        ValueError: as `VideoEncoder`; stages that share nothing; or local tokens alone are pooled, but never
            attend to anything.
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
        intra_region: str = "self",
        inter_region: bool = True,
        local_global: str = "cross",
        share_attention: str = "none",
    ) -> None:
        # Before the blocks are made, which `VideoEncoder` asks for.
        self.stages = {
            "intra_region": intra_region,
            "inter_region": inter_region,
            "local_global": local_global,
            "share_attention": share_attention,
        }
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
        shape = (self.embed_dim, self.num_heads, self.mlp_ratio, self.num_regions)
        return LGIBlock(*shape, drop_path, **self.stages)

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

    def freeze_unpooled(self, mode: str | None = None) -> None:
        """Freeze what gets no gradient: the stage of the last block whose results nothing reads.

        Data-parallel training waits for a gradient of every parameter that is not frozen.

        Args:
            mode: the pooling, by default the model's own. Pre-training reads local tokens only: `token`.
        """
        for module in self.blocks[-1].unread(mode or self.pool_mode):
            module.requires_grad_(False)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the model a fresh head, as `VideoEncoder` does.

        Raises:
            ValueError: also for a head on local tokens alone where these never attend to anything.
        """
        if num_classes:
            self.check_read(global_pool or self.pool_mode)
        super().reset_classifier(num_classes, global_pool)

    def check_read(self, mode: str) -> None:
        """Refuse to read local tokens alone where no stage tells them of each other.

        Raises:
            ValueError: names the arguments.
        """
        told = self.stages["intra_region"] == "self" or self.stages["local_global"] != "none"
        if mode == "token" and not told:
            raise ValueError(
                "intra_region='cross' with local_global='none' leaves every local token alone: only "
                "representative tokens know the clip, so that nothing can be pre-trained or pooled with "
                "pool='token'"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K), or pooled features (B, D), of clips (B, 3, T, H, W).

        In evaluation without gradients and with region pooling, the last block computes its representative
        tokens only (4 percent less work in the published classifier, the same result).
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
