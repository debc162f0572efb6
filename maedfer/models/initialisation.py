"""Initial weights, as upstream draws them."""

from __future__ import annotations

from torch import nn


def init_linears(model: nn.Module, classifier: bool) -> None:
    """Initialise every Linear as upstream: xavier-uniform to pre-train, truncated normal 0.02 to classify."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if classifier:
                nn.init.trunc_normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def fresh_head(dim: int, num_classes: int, scale: float) -> nn.Linear:
    """A classifier's last matrix: truncated normal 0.02 times `scale`, no bias yet."""
    head = nn.Linear(dim, num_classes)
    init_linears(head, classifier=True)
    head.weight.data.mul_(scale)
    return head
