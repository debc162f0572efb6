"""LGI-Former: the local-global interaction transformer of MAE-DFER (paper section 3, arXiv 2307.02227).

Tokens are grouped in regions, and each region has one learnable representative token; `lgi_block` has the
attention between them, and its variants. As upstream, representative tokens have no position code.
Departures: tokens are grouped by index, so any region that divides the grid works, with any mask of equal
counts; and evaluation without gradients skips the part of the last block that a classifier on representative
tokens does not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from maedfer.errors import UserError
from maedfer.models.arguments import EncoderArgs
from maedfer.models.encoder import VideoEncoder
from maedfer.models.features import LOCAL, REPRESENTATIVE, Features, TokenKind
from maedfer.models.lgi_block import LGIBlock, Stages
from maedfer.models.pooling import POOLINGS, pool_name
from maedfer.models.regions import as_triple


@dataclass(frozen=True, kw_only=True)
class LGIFormerArgs(EncoderArgs, Stages):
    """Constructor arguments of `LGIFormer`: those of every encoder, the stages of its blocks, and the region.

    The defaults are the published encoder: 84,874,752 parameters, 84,878,343 with 7 classes.

    Attributes:
        region_size: tokens (t, h, w) attended together; (2, 5, 10) of the (8, 10, 10) grid makes 4 time steps
            of upper and lower face.
    """

    region_size: Sequence[int] = (2, 5, 10)

    def region(self, grid: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns `region_size`.

        Raises:
            UserError: it is not three positive numbers.
        """
        return as_triple(self.region_size, "region_size")


class LGIFormer(VideoEncoder):
    """The encoder of MAE-DFER; its arguments are those of `LGIFormerArgs`, by keyword.

    Raises:
        UserError: as `VideoEncoder` and `Stages`; or pooled local tokens never attend to others.
    """

    Args = LGIFormerArgs
    args: LGIFormerArgs
    region_order: Tensor
    region_rank: Tensor

    def __init__(self, **args: Any) -> None:
        super().__init__(**args)
        self.region_tokens = nn.Parameter(torch.empty(self.num_regions, self.embed_dim))
        # Upstream cuts the normal at one sigma before pre-training, and not at all in a classifier.
        cut = 2.0 if self.norms_pooled else 0.02
        nn.init.trunc_normal_(self.region_tokens, std=0.02, a=-cut, b=cut)
        self.register_buffer("region_order", self.layout.region_order, persistent=False)
        self.register_buffer("region_rank", self.layout.region_rank, persistent=False)

    @property
    def stages(self) -> dict[str, Any]:
        """The arguments of `Stages`."""
        return {field.name: getattr(self.args, field.name) for field in fields(Stages)}

    def make_block(self, drop_path: float) -> LGIBlock:
        """Builds an LGI block with its stochastic depth."""
        return LGIBlock(
            dim=self.embed_dim,
            num_heads=self.num_heads,
            mlp_ratio=self.args.mlp_ratio,
            num_regions=self.num_regions,
            stages=Stages(**self.stages),
            drop_path=drop_path,
        )

    def enter_blocks(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Groups tokens (B, V, D) by region behind the representative tokens: (B*R, 1 + V/R, D)."""
        if visible is None:
            tokens = tokens[:, self.region_order]
        else:
            tokens = take_tokens(tokens, self.region_rank[visible].argsort(dim=1))
        grouped = rearrange(tokens, "b (r n) d -> (b r) n d", r=self.num_regions)
        representative = repeat(self.region_tokens, "r d -> (b r) 1 d", b=tokens.shape[0])
        return torch.cat((representative.to(grouped.dtype), grouped), dim=1)

    def leave_blocks(self, x: Tensor, visible: Tensor | None) -> Features:
        """Takes (B*R, 1 + V/R, D) apart, the local tokens in raster order or in that of `visible`."""
        x = rearrange(x, "(b r) n d -> b r n d", r=self.num_regions)
        tokens = rearrange(x[:, :, 1:], "b r n d -> b (r n) d")
        if visible is None:
            return Features(tokens[:, self.region_rank], x[:, :, 0])
        return Features(take_tokens(tokens, self.region_major_places(visible)), x[:, :, 0])

    def region_major_places(self, visible: Tensor) -> Tensor:
        """Returns the place of each visible token (B, V) in region-major order, int64 (B, V)."""
        return self.region_rank[visible].argsort(dim=1).argsort(dim=1)

    def freeze_unread(self, read: frozenset[TokenKind] | None = None) -> None:
        """Freezes what gets no gradient: the stage of the last block whose results nothing reads.

        Data-parallel training waits for a gradient of every parameter that is not frozen.

        Args:
            read: kinds of tokens that are read, by default those of the pooling.
        """
        for module in self._last_block.unread(self.pooling.reads if read is None else read):
            module.requires_grad_(False)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the head by a fresh one, as `VideoEncoder` does.

        Raises:
            UserError: also for a head on local tokens alone where these never attend to anything.
        """
        if num_classes:
            self.check_read(POOLINGS[pool_name(global_pool or self.pool_mode)].reads)
        super().reset_classifier(num_classes, global_pool)

    def check_read(self, read: frozenset[TokenKind]) -> None:
        """Refuses to read local tokens alone where no stage lets them attend to others.

        Raises:
            UserError: names the arguments.
        """
        if read == {LOCAL} and not self.args.mixes_local_tokens:
            raise UserError(
                "intra_region",
                "'cross' with local_global='none' leaves every local token alone: only representative tokens "
                "know the clip, so that nothing can be pre-trained or pooled with pool='token'",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (B, K), or pooled features (B, D), of clips (B, 3, T, H, W).

        In evaluation without gradients and where only representative tokens are pooled, the last block
        computes these alone (4 percent less work in the published classifier, the same result).
        """
        if self.training or torch.is_grad_enabled() or self.pooling.reads != {REPRESENTATIVE}:
            return super().forward(x)
        x = self.enter_blocks(self.embed(x), None)
        for block in self.blocks[:-1]:
            x = block(x)
        region_tokens = self.norm(self._last_block.forward_region_tokens(x))
        return self.forward_head(Features(region_tokens[:, :0], region_tokens))

    @property
    def _last_block(self) -> LGIBlock:
        return cast(LGIBlock, self.blocks[-1])


def take_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Returns the tokens (B, N, D) at `places` (B, V), another choice in every clip: (B, V, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
