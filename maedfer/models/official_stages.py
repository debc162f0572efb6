"""Reads upstream's ablations from the tensor names of a checkpoint; `lgi_block` describes them.

Attention that stages share stands in an upstream checkpoint once for every stage, with equal values; here it
is saved once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

FIRST, LATER = "first_attn", ("second_attn", "third_attn")


def stages_of(encoder: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the arguments of `LGIFormer` by which an upstream encoder differs from the published one."""
    parts = {name.split(".")[2] for name in encoder if name.startswith("blocks.0.")}
    stages: dict[str, Any] = {}
    if "first_attn_norm1" in parts:
        stages["intra_region"] = "cross"
    if "second_attn" not in parts:
        stages["inter_region"] = False
    if "third_attn" not in parts:
        stages["local_global"] = "none"
    elif "third_attn_norm1" not in parts:
        stages["local_global"] = "self"
    copies = [stage for stage in LATER if _is_copy(encoder, stage)]
    if copies:
        stages["share_attention"] = "all" if "second_attn" in copies else "first_third"
    return stages


def with_copies(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds shared attention once for every stage that has a norm, to a state dict of upstream's names."""
    copies = {}
    for name, tensor in state.items():
        block, first, rest = name.partition(f"{FIRST}.")
        for stage in LATER if first else ():
            if f"{block}{stage}_norm0.weight" in state and f"{block}{stage}.{rest}" not in state:
                copies[f"{block}{stage}.{rest}"] = tensor
    return {**state, **copies}


def without_copies(state: Mapping[str, Tensor], share_attention: str) -> dict[str, Tensor]:
    """Removes shared attention except for the first stage's from a state dict of upstream's names."""
    shared = {"none": (), "first_third": LATER[1:], "all": LATER}[share_attention]
    return {name: tensor for name, tensor in state.items() if not set(shared) & set(name.split("."))}


def _is_copy(encoder: Mapping[str, Tensor], stage: str) -> bool:
    """Returns whether a stage has the weights of the first stage in all blocks."""
    pairs = [
        (tensor, encoder.get(name.replace(f".{stage}.", f".{FIRST}.")))
        for name, tensor in encoder.items()
        if f".{stage}." in name
    ]
    return bool(pairs) and all(other is not None and torch.equal(tensor, other) for tensor, other in pairs)
