"""Linear probe: a linear classifier on standardised features of a frozen encoder.

As in MAE (arXiv 2111.06377, appendix A.1): the pooled features are standardised by a batch norm without
parameters, then mapped by one Linear. The pretrained `norm` stays, and no new one is learned. With a learned
pooling, which is trained as well, it is an attentive probe.

The frozen part stays in evaluation mode (no drop path, no dropout) and runs without gradients. For use, the
batch norm is folded into the matrix: `exported` is a plain encoder with a head.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from maedfer.errors import UserError
from maedfer.models.encoder import VideoEncoder


class LinearProbe(nn.Module):
    """Trains a head on a frozen encoder; it has the part of an encoder's interface that training uses.

    Args:
        encoder: pretrained or fine-tuned; it is changed: its head is dropped, and everything but its pooling
            frozen.
        num_outputs: classes, or quantities.
        pool: another pooling than the encoder's; a learned one starts with fresh weights.

    Raises:
        UserError: no outputs, or a pooling that the encoder cannot have.
    """

    def __init__(self, encoder: VideoEncoder, num_outputs: int, pool: str | None = None) -> None:
        super().__init__()
        if num_outputs < 1:
            raise UserError("num_outputs", f"{num_outputs}: a probe needs at least one output")
        encoder.reset_classifier(0, pool)
        self.encoder = encoder.requires_grad_(False)
        encoder.pooling.requires_grad_(True)
        self.num_classes = num_outputs
        self.head = StandardisedHead(encoder.num_features, num_outputs).to(encoder.patch_embed.proj.weight)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs (B, K) of clips (B, 3, T, H, W)."""
        with torch.no_grad():
            features = self.encoder.forward_features(x)
        return self.head(self.encoder.forward_head(features, pre_logits=True))

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of the trained parts; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def no_weight_decay(self) -> set[str]:
        """Returns nothing: one-dimensional parameters are never decayed anyway."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns a pattern that puts everything trained into the head's group for layer decay."""
        return {"stem": r"^encoder\.(?!\w+_pool\.)"}

    def exported(self) -> VideoEncoder:
        """Returns an unfrozen copy of the encoder with the folded head, in evaluation mode."""
        classifier = copy.deepcopy(self.encoder).requires_grad_(True)
        classifier.num_classes = self.num_classes
        classifier.head = self.head.folded()
        return classifier.eval()


class StandardisedHead(nn.Module):
    """Applies a batch norm without parameters, then a Linear, to (B, dim)."""

    def __init__(self, dim: int, num_outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False, eps=1e-6)
        self.linear = nn.Linear(dim, num_outputs)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, dim) to (B, num_outputs).

        Raises:
            UserError: a single clip in training, which has no deviation to standardise by.
        """
        if self.training and len(x) < 2:
            raise UserError(
                "batch_size", "a linear probe standardises features over the batch: take 2 or more"
            )
        return self.linear(self.norm(x))

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """Returns the Linear that gives this head's evaluation outputs from unstandardised features."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None and variance is not None  # as the batch norm tracks them
        weight = self.linear.weight.double() / (variance.double() + self.norm.eps).sqrt()
        folded = copy.deepcopy(self.linear)
        folded.weight.copy_(weight)
        folded.bias.copy_(self.linear.bias.double() - weight @ mean.double())
        return folded
