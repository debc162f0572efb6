"""Upstream's ablation switches, read from the names of a checkpoint: see `lgi_block` for what they mean.

Attention that stages share is in an upstream checkpoint once for every stage, equal each time; here it is
saved once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

FIRST, LATER = "first_attn", ("second_attn", "third_attn")


def stages_of(encoder: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of `LGIFormer` by which an upstream encoder differs from the published one."""
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
    """A state dict under upstream's names, with shared attention once for every stage that has a norm."""
    copies = {}
    for name, tensor in state.items():
        block, first, rest = name.partition(f"{FIRST}.")
        for stage in LATER if first else ():
            if f"{block}{stage}_norm0.weight" in state and f"{block}{stage}.{rest}" not in state:
                copies[f"{block}{stage}.{rest}"] = tensor
    return {**state, **copies}


def without_copies(state: Mapping[str, Tensor], share_attention: str) -> dict[str, Tensor]:
    """A state dict under upstream's names, with shared attention under the name of the first stage only."""
    shared = {"none": (), "first_third": LATER[1:], "all": LATER}[share_attention]
    return {name: tensor for name, tensor in state.items() if not set(shared) & set(name.split("."))}


def _is_copy(encoder: Mapping[str, Tensor], stage: str) -> bool:
    """Whether a stage of all blocks has the weights of the first stage."""
    pairs = [
        (tensor, encoder.get(name.replace(f".{stage}.", f".{FIRST}.")))
        for name, tensor in encoder.items()
        if f".{stage}." in name
    ]
    return bool(pairs) and all(other is not None and torch.equal(tensor, other) for tensor, other in pairs)
