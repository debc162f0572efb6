"""The base of LGI-Former and of the joint-attention ViT: timm's encoder contract, for video.

`VideoEncoder` embeds tubelets, adds positions, runs `blocks` and pools; a subclass defines how tokens enter
and leave its blocks. Clips are float32 (B, 3, T, H, W); tokens are (B, N, D) in raster order (t, h, w) at
every public border.

* An encoder (`num_classes=0`) ends in `norm`, as pre-training needs it.
* A classifier has the identity there and `fc_norm` after pooling: upstream drops the pre-trained norm in
  fine-tuning. With a learned pooling it keeps `norm`, as timm's models do: the query needs normalised tokens.

Initial weights follow upstream: xavier-uniform for an encoder, truncated normal 0.02 for a classifier, whose
head is scaled by `init_scale`. Departure: representative tokens are exempt from weight decay and belong to
the stem.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maedfer.errors import UserError
from maedfer.models.arguments import EncoderArgs
from maedfer.models.config import ModelConfig
from maedfer.models.features import Features, take_blocks
from maedfer.models.initialisation import init_linears
from maedfer.models.pooling import POOLINGS, Pooling, pool_features, pool_name
from maedfer.models.positions import position_table
from maedfer.models.regions import RegionLayout, Triple
from maedfer.models.tubelets import TubeletEmbedding, token_grid

NORM_EPS = 1e-6


class VideoEncoder(nn.Module, ABC):
    """The shared part of the encoders; `LGIFormer` and `JointViT` are the ones to build.

    Attributes:
        Args: the constructor's arguments, which are keyword arguments.
        args: the arguments that the model was built with; `head_args` follows `reset_classifier`.
        config: of the folder that the weights came from; None for fresh weights and upstream's.

    Raises:
        UserError: sizes that do not divide each other, or an unknown `pool` or `positions`.
    """

    Args: ClassVar[type[EncoderArgs]] = EncoderArgs
    args: EncoderArgs
    pos_embed: Tensor

    def __init__(self, **args: Any) -> None:
        super().__init__()
        self.args = given = self.Args(**args)
        self.img_size, self.num_frames, self.in_chans = given.img_size, given.num_frames, given.in_chans
        self.patch_size, self.tubelet_size = given.patch_size, given.tubelet_size
        self.grid = token_grid(given.num_frames, given.img_size, given.patch_size, given.tubelet_size)
        self.layout = RegionLayout(self.grid, given.region(self.grid))
        self.embed_dim = self.num_features = self.head_hidden_size = given.embed_dim
        self.num_heads, self.positions = given.num_heads, given.positions
        self.pool_mode = pool_name(given.pool)
        self.grad_checkpointing = False
        self.pretrained_cfg: dict[str, Any] = {}
        self.default_cfg = self.pretrained_cfg
        self.config: ModelConfig | None = None

        self.patch_embed = TubeletEmbedding(
            given.in_chans, given.embed_dim, given.patch_size, given.tubelet_size
        )
        table = position_table(given.positions, self.grid, given.embed_dim)
        self.register_buffer("pos_embed", table, persistent=False)
        rates = [given.drop_path_rate * index / max(given.depth - 1, 1) for index in range(given.depth)]
        self.blocks = nn.ModuleList(map(self.make_block, rates))
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": given.embed_dim, "reduction": given.patch_size}
            for i in range(given.depth)
        ]
        after_pooling = self._norms_pooled(given.num_classes) if given.fc_norm is None else given.fc_norm
        self.norm: nn.Module = nn.Identity() if after_pooling else self._fresh_norm()
        self.fc_norm: nn.Module = self._fresh_norm() if after_pooling else nn.Identity()
        self.head_drop = nn.Dropout(given.drop_rate)
        init_linears(self, classifier=after_pooling)
        self.reset_classifier(given.num_classes, given.pool)

    @abstractmethod
    def make_block(self, drop_path: float) -> nn.Module:
        """Builds a block with its stochastic depth."""

    @abstractmethod
    def enter_blocks(self, tokens: Tensor, visible: Tensor | None) -> Tensor:
        """Arranges tokens (B, V, D), all of them or those at `visible` (B, V), for the blocks."""

    @abstractmethod
    def leave_blocks(self, x: Tensor, visible: Tensor | None) -> Features:
        """Undoes `enter_blocks`."""

    @abstractmethod
    def region_major_places(self, visible: Tensor) -> Tensor:
        """Returns the place of each visible token when the blocks' output is flattened, int64 (B, V)."""

    @property
    def region_size(self) -> Triple:
        """Tokens (t, h, w) that attend together; the whole grid in joint attention."""
        return self.layout.region

    @property
    def num_regions(self) -> int:
        """Number of regions, the paper's M."""
        return self.layout.num_regions

    @property
    def norms_pooled(self) -> bool:
        """True if the last norm is behind the pooling, as in a classifier, and not in front of it."""
        return isinstance(self.fc_norm, nn.LayerNorm)

    @property
    def pooling(self) -> Pooling:
        """The pooling; saved weights name it after its mode, as in `attentive_pool`."""
        return cast(Pooling, getattr(self, f"{self.pool_mode}_pool"))

    @property
    def head_args(self) -> dict[str, Any]:
        """Constructor arguments (of `arguments.HEAD_ARGS`) that build the present head."""
        args: dict[str, Any] = {"num_classes": self.num_classes, "pool": self.pool_mode}
        # Left out where it is the default, so that a loaded encoder can still become a classifier.
        is_default = self.norms_pooled == self._norms_pooled(self.num_classes)
        return args if is_default else args | {"fc_norm": self.norms_pooled}

    def embed(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Embeds all tubelets or the visible ones (B, V), and adds their position codes; (B, V, D).

        Raises:
            UserError: the clip has another shape than the model was built for.
        """
        expected = (self.in_chans, self.num_frames, self.img_size, self.img_size)
        if x.ndim != 5 or tuple(x.shape[1:]) != expected:
            raise UserError(
                None,
                f"clip is {tuple(x.shape)}, this model takes (B, {', '.join(map(str, expected))}): "
                "resize the clip or build the model with other img_size / num_frames",
            )
        return self.patch_embed(x, visible) + (self.pos_embed if visible is None else self.pos_embed[visible])

    def forward_features(self, x: Tensor) -> Features:
        """Encodes whole clips (B, 3, T, H, W)."""
        return self._encode(x, None)

    def forward_visible(self, x: Tensor, visible: Tensor) -> Features:
        """Encodes the visible tokens of clips; the other tubelets are never read.

        Args:
            x: clips (B, 3, T, H, W).
            visible: int64 (B, V), raster indices, ascending, equally many in every region. Checked on a CPU
                only, so that a GPU need not wait; `MaskedAutoencoder` has its own check.

        Returns:
            Features whose tokens (B, V, D) are in the order of `visible`.

        Raises:
            UserError: regions have different counts.
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
        """Encodes clips and keeps the local tokens after some blocks.

        Args:
            x: clips (B, 3, T, H, W).
            indices: blocks to keep: the last n, or a list (negative from the end); all by default.
            norm: apply the final norm to what is kept.
            stop_early: skip the blocks behind the last one kept.
            output_fmt: `NLC` gives (B, N, D), `NCHW` (timm's word for maps) gives (B, D, T, H, W).
            intermediates_only: leave out the final features.

        Raises:
            UserError: another `output_fmt`, or an index without a block.
        """
        if output_fmt not in ("NLC", "NCHW"):
            raise UserError("output_fmt", f"{output_fmt!r} is neither 'NLC' nor 'NCHW'")
        take, last = take_blocks(len(self.blocks), indices)
        x = self.enter_blocks(self.embed(x), None)
        kept: list[Tensor] = []
        for index, block in enumerate(self.blocks[: last + 1] if stop_early else self.blocks):
            x = self._run(block, x)
            if index in take:
                kept.append(self._as_output(self.norm(x) if norm else x, output_fmt))
        return kept if intermediates_only else (self.leave_blocks(self.norm(x), None), kept)

    def pool(self, features: Features, mode: str | None = None) -> Tensor:
        """Pools tokens to (B, D) by the model's own pooling, or by the name of a mean, without any norm.

        Raises:
            UserError: an unknown name, or a pooling that this model does not have.
        """
        if mode is None or mode == self.pool_mode:
            return self.pooling(features)
        return pool_features(features, mode)

    def forward_head(self, features: Features, pre_logits: bool = False) -> Tensor:
        """Pools, normalises (classifiers) and classifies: logits (B, K), or (B, D) without the head."""
        pooled = self.head_drop(self.fc_norm(self.pool(features)))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (B, K) of clips (B, 3, T, H, W); pooled features (B, D) when there is no head."""
        return self.forward_head(self.forward_features(x))

    def no_weight_decay(self) -> set[str]:
        """Returns names of parameters that weight decay must leave alone besides one-dimensional ones."""
        return {"region_tokens"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns patterns that order parameters for layer decay: the stem, every block, the head."""
        blocks = r"^blocks\.(\d+)" if coarse else [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^(?:patch_embed|region_tokens)", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes blocks in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Returns the head: a Linear, or the identity."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the head by a fresh one; 0 takes it away and keeps the norms as they are.

        The first head of an encoder also moves the norm behind the pooling, fresh, unless `fc_norm` was set
        or the pooling is learned.

        Args:
            num_classes: classes, or 0.
            global_pool: another pooling (timm's word for `pool`); a learned one starts with fresh weights.

        Raises:
            UserError: negative `num_classes`, or an unknown pooling.
        """
        if num_classes < 0:
            raise UserError("num_classes", f"{num_classes} is negative; 0 means no head")
        if global_pool:
            self._replace_pooling(global_pool)
        self.num_classes = num_classes
        self.head: nn.Module = self._fresh_head(num_classes) if num_classes else nn.Identity()
        moves = self.args.fc_norm is None and self._norms_pooled(num_classes)
        if moves and isinstance(self.norm, nn.LayerNorm):
            self.norm, self.fc_norm = nn.Identity(), self._fresh_norm()

    def _replace_pooling(self, name: str) -> None:
        # The head goes as well: optimizer states list the pooling's parameters before those of the head.
        for module in (f"{self.pool_mode}_pool", "head"):
            if hasattr(self, module):
                delattr(self, module)
        self.pool_mode = pool_name(name)
        pooling = POOLINGS[self.pool_mode](self.embed_dim, self.num_heads)
        self.add_module(f"{self.pool_mode}_pool", pooling.to(self.patch_embed.proj.weight))

    def _norms_pooled(self, num_classes: int) -> bool:
        """Returns whether the norm is behind the pooling by default, with that many classes."""
        return num_classes > 0 and not POOLINGS[self.pool_mode].learned

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

    def _fresh_head(self, num_classes: int) -> nn.Linear:
        head = nn.Linear(self.embed_dim, num_classes)
        init_linears(head, classifier=True)
        head.weight.data.mul_(self.args.init_scale)
        return head.to(self.patch_embed.proj.weight)
