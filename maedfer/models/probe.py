"""A linear probe: what a frozen encoder already knows, read by one matrix.

As in MAE (arXiv 2111.06377, appendix A.1): the pooled features are standardised by a batch norm without
parameters, then mapped by one Linear. The pretrained `norm` stays, and no new one is learned. With attentive
pooling it is an attentive probe: the pooling is trained as well.

The frozen part stays in evaluation mode (no drop path, no dropout) and runs without gradients. For use, the
batch norm is folded into the matrix: `exported` is a plain encoder with a head.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from maedfer.models.encoder import VideoEncoder


class LinearProbe(nn.Module):
    """A frozen encoder and a standardised head; the interface of an encoder as far as training needs it.

    Args:
        encoder: pretrained or fine-tuned; it is changed: a head is dropped, and everything but an attentive
            pooling frozen.
        num_outputs: classes, or quantities.
        pool: another pooling than the encoder's; `attentive` starts with a fresh query.

    Raises:
        ValueError: no outputs, or a pooling that the encoder cannot have.
    """

    def __init__(self, encoder: VideoEncoder, num_outputs: int, pool: str | None = None) -> None:
        super().__init__()
        if num_outputs < 1:
            raise ValueError(f"num_outputs={num_outputs}: a probe needs at least one output")
        encoder.reset_classifier(0, pool)
        self.encoder = encoder.requires_grad_(False)
        encoder.attentive_pool.requires_grad_(True)
        self.num_classes = num_outputs
        self.head = StandardisedHead(encoder.num_features, num_outputs).to(encoder.patch_embed.proj.weight)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, K) of clips (B, 3, T, H, W)."""
        with torch.no_grad():
            features = self.encoder.forward_features(x)
        return self.head(self.encoder.forward_head(features, pre_logits=True))

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what is trained; the frozen encoder stays in evaluation."""
        super().train(mode)
        self.encoder.eval()
        return self

    def no_weight_decay(self) -> set[str]:
        """Nothing but what is one-dimensional, which is never decayed."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """One group for layer decay: all that is trained is the head."""
        return {"stem": r"^encoder\.(?!attentive_pool)"}

    def exported(self) -> VideoEncoder:
        """A copy of the encoder with the folded head and the same outputs, unfrozen, in evaluation mode."""
        classifier = copy.deepcopy(self.encoder).requires_grad_(True)
        classifier.num_classes = self.num_classes
        classifier.head = self.head.folded()
        return classifier.eval()


class StandardisedHead(nn.Module):
    """A batch norm without parameters, then a Linear, on (B, dim)."""

    def __init__(self, dim: int, num_outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False, eps=1e-6)
        self.linear = nn.Linear(dim, num_outputs)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim) to (B, num_outputs).

        Raises:
            ValueError: a single clip in training, which has no spread to standardise by.
        """
        if self.training and len(x) < 2:
            raise ValueError(
                "a linear probe standardises features over the batch: --data.batch_size must be 2 or more"
            )
        return self.linear(self.norm(x))

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The Linear that gives this head's evaluation outputs from unstandardised features."""
        weight = self.linear.weight.double() / (self.norm.running_var.double() + self.norm.eps).sqrt()
        folded = copy.deepcopy(self.linear)
        folded.weight.copy_(weight)
        folded.bias.copy_(self.linear.bias.double() - weight @ self.norm.running_mean.double())
        return folded
