"""Builds the optimizer of a run: AdamW, as published, or Muon.

Muon trains masked autoencoders several times as fast (README, "Should I pretrain?"). It (K. Jordan, 2024; its
steps scaled as in arXiv 2502.16982, so that rates and decays found for AdamW apply) turns the momentum of a
matrix into the nearest orthogonal one: directions with small gradients are learnt as fast as those with large
ones. Motion targets are a fraction of appearance targets in size, and AdamW learns nothing of them for
thousands of steps. This is timm's Muon for the matrices of the blocks; AdamW trains everything else: tubelet
embedding, heads, tokens, biases and norms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from timm.optim import Muon
from torch import nn

from maedfer.errors import UserError
from maedfer.lightning_internals import unscale_before_clipping

OptimizerName = Literal["adamw", "muon"]


def build_optimizer(
    name: OptimizerName,
    model: nn.Module,
    groups: Sequence[dict[str, Any]],
    rate: float,
    betas: tuple[float, float],
) -> torch.optim.Optimizer:
    """Returns an optimizer of parameter groups.

    Args:
        name: the optimizer.
        model: holds the parameters of the groups.
        groups: with weight decay, and rates of their own where these differ.
        rate: learning rate of the other groups.
        betas: AdamW's; the momentum of Muon is timm's, 0.95.
    """
    if name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
        unscale_before_clipping(optimizer)
        return optimizer
    matrices = {id(parameter) for parameter in block_matrices(model)}
    split = [part for group in groups for part in _split(group, matrices)]
    return Muon(split, lr=rate, betas=betas, adjust_lr_fn="match_rms_adamw")


def block_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Returns the trained matrices of all blocks of a model, of its encoder and its decoder."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim == 2 and "blocks" in name.split(".")
    ]


def _split(group: Mapping[str, Any], matrices: set[int]) -> Iterator[dict[str, Any]]:
    """Splits a parameter group into one of Muon and one of AdamW, and drops empty ones."""
    for use_muon in (True, False):
        parameters = [p for p in group["params"] if (id(p) in matrices) == use_muon]
        if parameters:
            # Explicit, because timm would otherwise decide by the shape.
            yield {**group, "params": parameters, "use_muon": use_muon}


def check_same_optimizer(
    name: OptimizerName, states: Sequence[Mapping[str, Any]], checkpoint: str | Path
) -> None:
    """Checks that a checkpoint holds the state of the optimizer that is asked for.

    Args:
        name: the optimizer asked for.
        states: of the optimizers in the checkpoint.
        checkpoint: its path, for the message.

    Raises:
        UserError: it holds another; names it.
    """
    is_muon = any("use_muon" in group for state in states for group in state["param_groups"])
    saved = "muon" if is_muon else "adamw"
    if saved != name:
        raise UserError(
            "resume", f"{checkpoint} was trained with `optimizer={saved}`, not {name}: resume with {saved}"
        )
