"""What LGI-Former and the joint-attention ViT share: timm's encoder contract, for video.

`VideoEncoder` embeds tubelets, adds positions, runs `blocks` and pools; a subclass says how tokens enter and
leave its blocks. Clips are float32 (B, 3, T, H, W); tokens are (B, N, D) in raster order (t, h, w) at every
public border.

* An encoder (`num_classes=0`) ends in `norm`, as pre-training needs it.
* A classifier has the identity there and `fc_norm` after pooling: upstream drops the pre-trained norm in
  fine-tuning. One with attentive pooling keeps `norm` (as timm's do): its query needs normalised tokens.

Initial weights follow upstream: xavier-uniform for an encoder, truncated normal 0.02 for a classifier, whose
head is scaled by `init_scale`. Departure: representative tokens are exempt from weight decay and belong to
the stem.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maedfer.models.config import ModelConfig
from maedfer.models.features import Features, take_blocks
from maedfer.models.initialisation import fresh_head, init_linears
from maedfer.models.pooling import ATTENTIVE, AttentivePool, check_pool, pool_features
from maedfer.models.positions import position_table
from maedfer.models.regions import RegionLayout, Triple, as_triple
from maedfer.models.tubelets import TubeletEmbedding, token_grid

NORM_EPS = 1e-6


class VideoEncoder(nn.Module, ABC):
    """The shared part of the encoders; `LGIFormer` and `JointViT` are the ones to build.

    Args:
        region_size: tokens (t, h, w) attended together; the whole grid when None.
        img_size: side of the square frames in pixels.
        num_frames: frames of a clip.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
        in_chans: colour channels.
        num_classes: classes of the head; 0 builds an encoder.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLPs over `embed_dim`.
        pool: which tokens are averaged: `region`, `token` or `all`; or `attentive`, a learned query to all.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0 in the first.
        drop_rate: dropout before the head.
        positions: `1d` (upstream) or `3d`.
        fc_norm: normalise after pooling instead of before; by default exactly when there are classes and the
            pooling is a mean.
        init_scale: factor on the initial weights of a classifier's head.

    Raises:
        ValueError: sizes that do not divide each other, or an unknown `pool` or `positions`.
    """

    def __init__(
        self,
        region_size: Sequence[int] | None,
        *,
        img_size: int,
        num_frames: int,
        patch_size: int,
        tubelet_size: int,
        in_chans: int,
        num_classes: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        pool: str,
        drop_path_rate: float,
        drop_rate: float,
        positions: str,
        fc_norm: bool | None,
        init_scale: float,
    ) -> None:
        super().__init__()
        self.img_size, self.num_frames, self.in_chans = img_size, num_frames, in_chans
        self.patch_size, self.tubelet_size = patch_size, tubelet_size
        self.grid = token_grid(num_frames, img_size, patch_size, tubelet_size)
        region = self.grid if region_size is None else as_triple(region_size, "region_size")
        self.layout = RegionLayout(self.grid, region)
        self.embed_dim = self.num_features = self.head_hidden_size = embed_dim
        self.num_heads, self.mlp_ratio, self.positions = num_heads, mlp_ratio, positions
        self.pool_mode, self.init_scale = check_pool(pool), init_scale
        self.grad_checkpointing = False
        self.pretrained_cfg: dict[str, Any] = {}
        self.default_cfg = self.pretrained_cfg
        self.config: ModelConfig | None = None  # of the folder that the weights came from, see `weights`

        self.patch_embed = TubeletEmbedding(in_chans, embed_dim, patch_size, tubelet_size)
        self.register_buffer("pos_embed", position_table(positions, self.grid, embed_dim), persistent=False)
        rates = [drop_path_rate * index / max(depth - 1, 1) for index in range(depth)]
        self.blocks = nn.ModuleList(map(self.make_block, rates))
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": embed_dim, "reduction": patch_size} for i in range(depth)
        ]
        self._norm_follows_head = fc_norm is None
        after_pooling = (num_classes > 0 and pool != ATTENTIVE) if fc_norm is None else fc_norm
        self.norm: nn.Module = nn.Identity() if after_pooling else self._fresh_norm()
        self.fc_norm: nn.Module = self._fresh_norm() if after_pooling else nn.Identity()
        self.head_drop = nn.Dropout(drop_rate)
        init_linears(self, classifier=after_pooling)
        self.reset_classifier(num_classes, pool)

    @abstractmethod
    def make_block(self, drop_path: float) -> nn.Module:
        """One block with its stochastic depth."""

    @abstractmethod
    def enter_blocks(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Arrange tokens (B, V, D), all of them or those at `visible` (B, V), for the blocks."""

    @abstractmethod
    def leave_blocks(self, x: Tensor, visible: Tensor | None) -> Features:
        """Undo `enter_blocks`."""

    @abstractmethod
    def region_major_places(self, visible: Tensor) -> Tensor:
        """Place of each visible token when the blocks' output is flattened, int64 (B, V)."""

    @property
    def region_size(self) -> Triple:
        """Tokens (t, h, w) that attend together; the whole grid in joint attention."""
        return self.layout.region

    @property
    def head_args(self) -> dict[str, Any]:
        """Constructor arguments of the head as it is now: `reset_classifier` may have changed it."""
        normed = isinstance(self.fc_norm, nn.LayerNorm)
        args: dict[str, Any] = {"num_classes": self.num_classes, "pool": self.pool_mode}
        # Left out where it follows from the head, so that a loaded encoder can still become a classifier.
        follows = self.num_classes > 0 and self.pool_mode != ATTENTIVE
        return args if normed == follows else args | {"fc_norm": normed}

    @property
    def num_regions(self) -> int:
        """Regions, the paper's M."""
        return self.layout.num_regions

    def embed(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Embed all tubelets or the visible ones (B, V), and add their position codes; (B, V, D).

        Raises:
            ValueError: the clip has another shape than the model was built for.
        """
        expected = (self.in_chans, self.num_frames, self.img_size, self.img_size)
        if x.ndim != 5 or tuple(x.shape[1:]) != expected:
            raise ValueError(
                f"clip is {tuple(x.shape)}, this model takes (B, {', '.join(map(str, expected))}): "
                "resize the clip or build the model with other img_size / num_frames"
            )
        return self.patch_embed(x, visible) + (self.pos_embed if visible is None else self.pos_embed[visible])

    def forward_features(self, x: Tensor) -> Features:
        """Encode whole clips (B, 3, T, H, W)."""
        return self._encode(x, None)

    def forward_visible(self, x: Tensor, visible: Tensor) -> Features:
        """Encode the visible tokens of clips; the other tubelets are never read.

        Args:
            x: clips (B, 3, T, H, W).
            visible: int64 (B, V), raster indices, ascending, equally many in every region. Checked on a CPU
                only, so that a GPU need not wait; `MaskedAutoencoder` has its own check.

        Returns:
            Features whose tokens (B, V, D) are in the order of `visible`.

        Raises:
            ValueError: uneven counts.
        """
        if visible.device.type == "cpu" and not torch.compiler.is_compiling():
            self.layout.check_visible(visible)
        return self._encode(x, visible)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NLC", "NCHW"] = "NLC",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Features, list[Tensor]]:
        """Encode clips and keep the local tokens after some blocks.

        Args:
            x: clips (B, 3, T, H, W).
            indices: blocks to keep: the last n, or a list (negative from the end); all by default.
            norm: apply the final norm to what is kept.
            stop_early: skip the blocks behind the last one kept.
            output_fmt: `NLC` gives (B, N, D), `NCHW` (timm's word for maps) gives (B, D, T, H, W).
            intermediates_only: leave out the final features.

        Raises:
            ValueError: another `output_fmt`, or an index without a block.
        """
        if output_fmt not in ("NLC", "NCHW"):
            raise ValueError(f"output_fmt={output_fmt!r} is neither 'NLC' nor 'NCHW'")
        take, last = take_blocks(len(self.blocks), indices)
        x = self.enter_blocks(self.embed(x), None)
        kept: list[Tensor] = []
        for index, block in enumerate(self.blocks[: last + 1] if stop_early else self.blocks):
            x = self._run(block, x)
            if index in take:
                kept.append(self._as_output(self.norm(x) if norm else x, output_fmt))
        return kept if intermediates_only else (self.leave_blocks(self.norm(x), None), kept)

    def pool(self, features: Features, mode: str | None = None) -> Tensor:
        """Tokens to (B, D) by `mode`, or as the model was built: a bare mean, without any norm, or attention.

        Raises:
            ValueError: unknown mode, or one that this model cannot have.
        """
        if (mode or self.pool_mode) == ATTENTIVE and isinstance(self.attentive_pool, AttentivePool):
            return self.attentive_pool(features)
        return pool_features(features, mode or self.pool_mode)

    def forward_head(self, features: Features, pre_logits: bool = False) -> Tensor:
        """Pool, normalise (classifiers) and classify: logits (B, K), or (B, D) without the head."""
        pooled = self.head_drop(self.fc_norm(self.pool(features)))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of clips (B, 3, T, H, W); pooled features (B, D) when there is no head."""
        return self.forward_head(self.forward_features(x))

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone (besides the one-dimensional ones)."""
        return {"region_tokens"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that order parameters for layer decay: the stem, every block, the head."""
        blocks = r"^blocks\.(\d+)" if coarse else [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^(?:patch_embed|region_tokens)", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """The head: a Linear, or the identity."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the model a fresh head; 0 takes it away and keeps the norms as they are.

        The first head of an encoder also moves the norm behind the pooling, fresh, unless `fc_norm` was set
        or the pooling is attentive.

        Args:
            num_classes: classes, or 0.
            global_pool: another pooling (timm's word for `pool`); `attentive` comes with a fresh query.

        Raises:
            ValueError: negative `num_classes`, or an unknown pooling.
        """
        if num_classes < 0:
            raise ValueError(f"num_classes={num_classes} is negative; 0 means no head")
        if global_pool:
            self.pool_mode = check_pool(global_pool)
            self.attentive_pool = self._fresh_pool() if global_pool == ATTENTIVE else nn.Identity()
        self.num_classes = num_classes
        self.head: nn.Module = self._fresh_head(num_classes) if num_classes else nn.Identity()
        follows = self._norm_follows_head and self.pool_mode != ATTENTIVE
        if num_classes and follows and isinstance(self.norm, nn.LayerNorm):
            self.norm, self.fc_norm = nn.Identity(), self._fresh_norm()

    def _encode(self, x: Tensor, visible: Tensor | None) -> Features:
        x = self.enter_blocks(self.embed(x, visible), visible)
        for block in self.blocks:
            x = self._run(block, x)
        return self.leave_blocks(self.norm(x), visible)

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(block, x, use_reentrant=False) if self.grad_checkpointing else block(x)

    def _as_output(self, x: Tensor, output_fmt: str) -> Tensor:
        tokens = self.leave_blocks(x, None).tokens
        if output_fmt == "NLC":
            return tokens
        t, h, w = self.grid
        return rearrange(tokens, "b (t h w) d -> b d t h w", t=t, h=h, w=w).contiguous()

    def _fresh_norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.embed_dim, eps=NORM_EPS).to(self.patch_embed.proj.weight)

    def _fresh_pool(self) -> AttentivePool:
        return AttentivePool(self.embed_dim, self.num_heads).to(self.patch_embed.proj.weight)

    def _fresh_head(self, num_classes: int) -> nn.Linear:
        head = fresh_head(self.embed_dim, num_classes, self.init_scale)
        return head.to(self.patch_embed.proj.weight)
