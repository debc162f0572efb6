"""Draws initial weights as upstream does."""

from __future__ import annotations

from torch import nn


def init_linears(model: nn.Module, classifier: bool) -> None:
    """Initialises every Linear: xavier-uniform to pre-train, truncated normal 0.02 to classify."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if classifier:
                nn.init.trunc_normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
