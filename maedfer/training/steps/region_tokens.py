"""Reproduces upstream's optimizer settings of the representative tokens, which its lists of names miss.

Upstream excludes `lg_region_tokens` from weight decay in pre-training, but the parameter is named
`encoder.lg_region_tokens`, so it is decayed. In fine-tuning its layer decay does not list them, so they train
at the rate of the head.
"""

from typing import Any

from torch import nn

REGION_TOKENS = "region_tokens"
"""Name of the parameter in an encoder."""


def at_head_rate(groups: list[dict[str, Any]], model: nn.Module) -> None:
    """Moves the representative tokens of a model to the undecayed parameters of its head.

    Args:
        groups: of `param_groups_layer_decay`, changed in place; left alone where no group has the tokens
            (joint attention, a frozen encoder).
        model: holds the parameters of the groups.
    """
    tokens = dict(model.named_parameters()).get(REGION_TOKENS)
    source = next((g for g in groups if any(p is tokens for p in g["params"])), None)
    if source is None:
        return
    source["params"] = [parameter for parameter in source["params"] if parameter is not tokens]
    head = next(group for group in groups if group["lr_scale"] == 1.0 and not group["weight_decay"])
    head["params"].insert(0, tokens)
