"""Upstream's optimizer settings of the representative tokens, which its lists of names miss by an oversight.

Pre-training skips `lg_region_tokens` in weight decay, but the parameter is `encoder.lg_region_tokens`: it is
decayed. Layer decay knows no place for them in fine-tuning: they learn at the rate of the head.
"""

from typing import Any

from torch import nn

REGION_TOKENS = "region_tokens"
"""Our name of the parameter in an encoder."""


def at_head_rate(groups: list[dict[str, Any]], model: nn.Module) -> None:
    """Move the representative tokens of a model to the undecayed parameters of its head.

    Args:
        groups: of `param_groups_layer_decay`, changed in place; nothing to do where no group has the tokens
            (joint attention, a frozen encoder).
        model: whose parameters they hold.
    """
    tokens = dict(model.named_parameters()).get(REGION_TOKENS)
    source = next((g for g in groups if any(p is tokens for p in g["params"])), None)
    if source is None:
        return
    source["params"] = [parameter for parameter in source["params"] if parameter is not tokens]
    head = next(group for group in groups if group["lr_scale"] == 1.0 and not group["weight_decay"])
    head["params"].insert(0, tokens)
