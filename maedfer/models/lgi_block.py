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

import torch
from einops import rearrange
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from maedfer.models.attention import CrossAttention
from maedfer.models.encoder import NORM_EPS

INTRA_REGION = ("self", "cross")
LOCAL_GLOBAL = ("cross", "self", "none")
SHARE_ATTENTION = ("none", "first_third", "all")


def check_stages(intra_region: str, inter_region: bool, local_global: str, share_attention: str) -> None:
    """Refuse stages that do not exist, and shared weights with nothing to share them with.

    Raises:
        ValueError: names the argument and what there is.
    """
    for flag, value, words in (
        ("intra_region", intra_region, INTRA_REGION),
        ("local_global", local_global, LOCAL_GLOBAL),
        ("share_attention", share_attention, SHARE_ATTENTION),
    ):
        if value not in words:
            raise ValueError(f"{flag}={value!r} is not one of {words}")
    third = local_global != "none"
    if (share_attention == "first_third" and not third) or (
        share_attention == "all" and not (inter_region or third)
    ):
        raise ValueError(
            f"share_attention={share_attention!r} shares nothing with inter_region={inter_region}, "
            f"local_global={local_global!r}: take share_attention='none'"
        )


class LGIBlock(nn.Module):
    """A local-global interaction block over (B*R, 1+n, dim), the representative token first in its region.

    Args:
        dim: width of the tokens.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over `dim`.
        num_regions: regions R of a clip.
        drop_path: stochastic depth.
        intra_region: `self` or `cross`.
        inter_region: whether there is a second stage.
        local_global: `cross`, `self` or `none`.
        share_attention: `none`, `first_third` or `all`.

    Raises:
        ValueError: as `check_stages`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        num_regions: int,
        drop_path: float = 0.0,
        intra_region: str = "self",
        inter_region: bool = True,
        local_global: str = "cross",
        share_attention: str = "none",
    ) -> None:
        super().__init__()
        check_stages(intra_region, inter_region, local_global, share_attention)
        self.num_regions = num_regions
        self.intra_region, self.inter_region, self.local_global = intra_region, inter_region, local_global
        self.intra_region_norm = _norm(dim)
        if intra_region == "cross":
            self.intra_region_norm_token = _norm(dim)
        self.intra_region_attn = CrossAttention(dim, num_heads)
        # None stands for the weights of the first stage. A module under two names would be saved twice, and
        # safetensors refuses that.
        self.inter_region_attn = self.local_global_attn = None
        if inter_region:
            self.inter_region_norm = _norm(dim)
            if share_attention != "all":
                self.inter_region_attn = CrossAttention(dim, num_heads)
        if local_global != "none":
            self.local_global_norm_token = _norm(dim)
            if local_global == "cross":
                self.local_global_norm_region = _norm(dim)
            if share_attention == "none":
                self.local_global_attn = CrossAttention(dim, num_heads)
        self.mlp_norm = _norm(dim)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the four stages on (B*R, 1+n, dim)."""
        regions, tokens = self._intra_region(x)
        regions = self._inter_region(regions)
        if self.local_global == "cross":
            tokens = self._local_to_global(tokens, regions)
        x = torch.cat((regions, tokens), dim=1)
        if self.local_global == "self":
            normed = self.local_global_norm_token(x)
            x = x + self.drop_path(self._third(normed, normed))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))

    def forward_region_tokens(self, x: Tensor) -> Tensor:
        """The representative tokens (B, R, dim) of `forward`, without the work that they cannot see."""
        if self.local_global == "self":  # local tokens tell them once more what the first stage made of them
            regions, tokens = self._intra_region(x)
            regions = self._inter_region(regions)
            normed = self.local_global_norm_token(torch.cat((regions, tokens), dim=1))
            regions = regions + self.drop_path(self._third(normed[:, :1], normed))
        else:
            regions = self._inter_region(self._representatives(x))
        regions = regions + self.drop_path(self.mlp(self.mlp_norm(regions)))
        return rearrange(regions, "(b r) 1 d -> b r d", r=self.num_regions)

    def unread(self, mode: str) -> list[nn.Module]:
        """Modules whose results reach no token that is read, where this block is the last.

        Args:
            mode: tokens that are read: `region` (representative ones), `token` (local ones), or both.
        """
        unread: list[nn.Module | None] = []
        if mode == "region" and self.local_global == "cross":
            unread = [self.local_global_norm_token, self.local_global_norm_region, self.local_global_attn]
        if mode == "token" and self.local_global == "none" and self.inter_region:
            unread = [self.inter_region_norm, self.inter_region_attn]
        return [module for module in unread if module is not None]

    def _intra_region(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first stage: representative (B*R, 1, dim) and local tokens (B*R, n, dim) apart."""
        if self.intra_region == "cross":
            return self._representatives(x), x[:, 1:]
        normed = self.intra_region_norm(x)
        x = x + self.drop_path(self.intra_region_attn(normed, normed))
        return x[:, :1], x[:, 1:]

    def _representatives(self, x: Tensor) -> Tensor:
        """The representative tokens (B*R, 1, dim) of the first stage alone."""
        if self.intra_region == "cross":
            query, context = self.intra_region_norm(x[:, :1]), self.intra_region_norm_token(x[:, 1:])
        else:
            context = self.intra_region_norm(x)
            query = context[:, :1]
        return x[:, :1] + self.drop_path(self.intra_region_attn(query, context))

    def _inter_region(self, regions: Tensor) -> Tensor:
        """The second stage on (B*R, 1, dim)."""
        if not self.inter_region:
            return regions
        regions = self._of_clips(regions)
        normed = self.inter_region_norm(regions)
        attn = self.inter_region_attn or self.intra_region_attn
        return self._of_regions(regions + self.drop_path(attn(normed, normed)))

    def _local_to_global(self, tokens: Tensor, regions: Tensor) -> Tensor:
        """The third stage as cross-attention of (B*R, n, dim) to the (B*R, 1, dim) of all regions."""
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
