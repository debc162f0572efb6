"""The pre-training decoder: a small joint-attention ViT with an appearance and a motion head.

Paper section 3, joint masked appearance and motion modelling. Visible tokens and one shared mask token per
masked tubelet, each with its position code, attend to each other; pixels are predicted from the outputs of
the mask tokens. Upstream has one linear head for both targets, which is the same function as the paper's two.
The decoder is discarded after pre-training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maedfer.models.attention import check_heads
from maedfer.models.encoder import NORM_EPS
from maedfer.models.initialisation import init_linears
from maedfer.models.vit import JointBlock


class Decoder(nn.Module, ABC):
    """The base of decoders: blocks, a norm, and a head for each target; a subclass defines the attention.

    Args:
        dim: width.
        depth: blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLPs over `dim`.
        appearance_size: values of an appearance target.
        motion_size: values of a motion target.
        zero_init_heads: start both heads at 0, so that the first prediction is the mean of the targets;
            upstream starts them at random.

    Raises:
        UserError: the heads do not divide the width.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        appearance_size: int,
        motion_size: int,
        zero_init_heads: bool = False,
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads, "decoder_num_heads")
        self.blocks = nn.ModuleList([self.make_block(dim, num_heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.appearance_head = nn.Linear(dim, appearance_size)
        self.motion_head = nn.Linear(dim, motion_size)
        self.grad_checkpointing = False
        init_linears(self, classifier=False)
        if zero_init_heads:
            nn.init.zeros_(self.appearance_head.weight)
            nn.init.zeros_(self.motion_head.weight)

    @abstractmethod
    def make_block(self, dim: int, num_heads: int, mlp_ratio: float) -> nn.Module:
        """Builds a block."""

    @abstractmethod
    def attend(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Runs the blocks on visible (B, V, dim) and mask tokens; returns the mask tokens (B, M, dim)."""

    def forward(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Predicts masked tubelets.

        Args:
            visible: encoded tokens (B, V, dim) with their position codes.
            masked: mask tokens (B, M, dim) with theirs.

        Returns:
            (B, M, P), appearance first.
        """
        x = self.norm(self.attend(visible, masked))
        return torch.cat((self.appearance_head(x), self.motion_head(x)), dim=-1)

    def run(self, block: nn.Module, *tokens: Tensor) -> Tensor:
        """Runs a block, recomputed in the backward pass if `grad_checkpointing` is set."""
        return checkpoint(block, *tokens, use_reentrant=False) if self.grad_checkpointing else block(*tokens)


class JointDecoder(Decoder):
    """The published decoder: visible and mask tokens in one sequence, all attending to all."""

    def make_block(self, dim: int, num_heads: int, mlp_ratio: float) -> JointBlock:
        """Builds a plain transformer block."""
        return JointBlock(dim, num_heads, mlp_ratio)

    def attend(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Runs the blocks over the whole sequence; returns its mask tokens (B, M, dim)."""
        x = torch.cat((visible, masked), dim=1)
        for block in self.blocks:
            x = self.run(block, x)
        return x[:, visible.shape[1] :]
