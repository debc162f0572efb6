"""The local-global interaction block of LGI-Former (paper section 3), and the variants of its ablations.

Each region has one representative token, which stands first in its region. A block has three attention
stages and one MLP, all residual with the norm before, as the paper's equations have them:

1. local intra-region: a region's tokens and its representative token attend to each other (`self`), or the
   representative token alone attends to the local ones (`cross`);
2. global inter-region: the representative tokens of all regions attend to each other, or the stage is left
   out;
3. local-global: every local token attends to the representative tokens of all regions (`cross`), or the first
   stage comes once more, now that representative tokens know the whole clip (`self`), or it is left out;
4. one MLP, shared by both kinds of tokens.

The three attentions have their own weights, or one set serves the first and the third (`first_third`) or all
of them (`all`); norms are never shared. As upstream: attention without key bias, and drop path that drops
whole regions where tokens stand region by region (stages 1 and 4, and a third stage of the kind `self`) but
whole clips elsewhere (the paper says per sample).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from maedfer.errors import UserError
from maedfer.models.attention import CrossAttention
from maedfer.models.encoder import NORM_EPS
from maedfer.models.features import LOCAL, REPRESENTATIVE, TokenKind

INTRA_REGION = ("self", "cross")
LOCAL_GLOBAL = ("cross", "self", "none")
SHARE_ATTENTION = ("none", "first_third", "all")


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Which attention stages a block has, and which of them share weights.

    Attributes:
        intra_region: tokens that attend within a region: `self` (all of them) or `cross` (the representative
            one, to the others).
        inter_region: whether representative tokens attend to each other.
        local_global: what local tokens attend to then: `cross` (the representative tokens of all regions),
            `self` (their own region again) or `none`.
        share_attention: attention stages that share weights: `none`, `first_third` or `all`.

    Raises:
        UserError: a stage that does not exist, or shared weights with nothing to share them with.
    """

    intra_region: str = "self"
    inter_region: bool = True
    local_global: str = "cross"
    share_attention: str = "none"

    def __post_init__(self) -> None:
        for name, words in (
            ("intra_region", INTRA_REGION),
            ("local_global", LOCAL_GLOBAL),
            ("share_attention", SHARE_ATTENTION),
        ):
            if getattr(self, name) not in words:
                raise UserError(name, f"{getattr(self, name)!r} is not one of {words}")
        third = self.local_global != "none"
        sharers = {"none": True, "first_third": third, "all": self.inter_region or third}
        if not sharers[self.share_attention]:
            raise UserError(
                "share_attention",
                f"{self.share_attention!r} shares nothing with inter_region={self.inter_region}, "
                f"local_global={self.local_global!r}: take share_attention='none'",
            )

    @property
    def mixes_local_tokens(self) -> bool:
        """True if local tokens attend to anything, so that they know more of the clip than their tubelet."""
        return self.intra_region == "self" or self.local_global != "none"


class LGIBlock(nn.Module):
    """A local-global interaction block over (B*R, 1+n, dim), the representative token first in its region.

    Args:
        dim: width of the tokens.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over `dim`.
        num_regions: regions R of a clip.
        stages: which attention stages there are.
        drop_path: stochastic depth.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        num_regions: int,
        stages: Stages,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_regions, self.stages = num_regions, stages
        self.intra_region_norm = _norm(dim)
        if stages.intra_region == "cross":
            self.intra_region_norm_token = _norm(dim)
        self.intra_region_attn = CrossAttention(dim, num_heads)
        # None stands for the weights of the first stage. A module under two names would be saved twice, and
        # safetensors refuses that.
        self.inter_region_attn: CrossAttention | None = None
        self.local_global_attn: CrossAttention | None = None
        if stages.inter_region:
            self.inter_region_norm = _norm(dim)
            if stages.share_attention != "all":
                self.inter_region_attn = CrossAttention(dim, num_heads)
        if stages.local_global != "none":
            self.local_global_norm_token = _norm(dim)
            if stages.local_global == "cross":
                self.local_global_norm_region = _norm(dim)
            if stages.share_attention == "none":
                self.local_global_attn = CrossAttention(dim, num_heads)
        self.mlp_norm = _norm(dim)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Runs the four stages on (B*R, 1+n, dim)."""
        regions, tokens = self._intra_region(x)
        regions = self._inter_region(regions)
        if self.stages.local_global == "cross":
            tokens = self._local_to_global(tokens, regions)
        x = torch.cat((regions, tokens), dim=1)
        if self.stages.local_global == "self":
            normed = self.local_global_norm_token(x)
            x = x + self.drop_path(self._third(normed, normed))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))

    def forward_region_tokens(self, x: Tensor) -> Tensor:
        """Returns the representative tokens (B, R, dim) of `forward`, without work that cannot reach them."""
        if self.stages.local_global == "self":  # they attend to local tokens a second time
            regions, tokens = self._intra_region(x)
            regions = self._inter_region(regions)
            normed = self.local_global_norm_token(torch.cat((regions, tokens), dim=1))
            regions = regions + self.drop_path(self._third(normed[:, :1], normed))
        else:
            regions = self._inter_region(self._representatives(x))
        regions = regions + self.drop_path(self.mlp(self.mlp_norm(regions)))
        return rearrange(regions, "(b r) 1 d -> b r d", r=self.num_regions)

    def unread(self, read: frozenset[TokenKind]) -> list[nn.Module]:
        """Returns the modules whose results reach no token that is read, where this block is the last.

        Args:
            read: kinds of tokens that are read.
        """
        unread: list[nn.Module | None] = []
        if LOCAL not in read and self.stages.local_global == "cross":
            unread = [self.local_global_norm_token, self.local_global_norm_region, self.local_global_attn]
        if REPRESENTATIVE not in read and self.stages.local_global == "none" and self.stages.inter_region:
            unread = [self.inter_region_norm, self.inter_region_attn]
        return [module for module in unread if module is not None]

    def _intra_region(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the first stage; returns representative (B*R, 1, dim) and local tokens (B*R, n, dim)."""
        if self.stages.intra_region == "cross":
            return self._representatives(x), x[:, 1:]
        normed = self.intra_region_norm(x)
        x = x + self.drop_path(self.intra_region_attn(normed, normed))
        return x[:, :1], x[:, 1:]

    def _representatives(self, x: Tensor) -> Tensor:
        """Runs the first stage for the representative tokens (B*R, 1, dim) alone."""
        if self.stages.intra_region == "cross":
            query, context = self.intra_region_norm(x[:, :1]), self.intra_region_norm_token(x[:, 1:])
        else:
            context = self.intra_region_norm(x)
            query = context[:, :1]
        return x[:, :1] + self.drop_path(self.intra_region_attn(query, context))

    def _inter_region(self, regions: Tensor) -> Tensor:
        """Runs the second stage on (B*R, 1, dim)."""
        if not self.stages.inter_region:
            return regions
        regions = self._of_clips(regions)
        normed = self.inter_region_norm(regions)
        attn = self.inter_region_attn or self.intra_region_attn
        return self._of_regions(regions + self.drop_path(attn(normed, normed)))

    def _local_to_global(self, tokens: Tensor, regions: Tensor) -> Tensor:
        """Runs the third stage: cross-attention of (B*R, n, dim) to the (B*R, 1, dim) of all regions."""
        tokens, context = self._of_clips(tokens), self.local_global_norm_region(self._of_clips(regions))
        tokens = tokens + self.drop_path(self._third(self.local_global_norm_token(tokens), context))
        return self._of_regions(tokens)

    def _third(self, query: Tensor, context: Tensor) -> Tensor:
        return (self.local_global_attn or self.intra_region_attn)(query, context)

    def _of_clips(self, x: Tensor) -> Tensor:
        return rearrange(x, "(b r) n d -> b (r n) d", r=self.num_regions)

    def _of_regions(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (r n) d -> (b r) n d", r=self.num_regions)


def _norm(dim: int) -> nn.LayerNorm:
    return nn.LayerNorm(dim, eps=NORM_EPS)
