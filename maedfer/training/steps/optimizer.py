"""What takes the steps of a run: AdamW, as published, or Muon, which learns masked autoencoders several times
as fast (README, "Should I pretrain?").

Muon (K. Jordan, 2024; its steps scaled as in arXiv 2502.16982, so that rates and decays found for AdamW stay
right) turns the momentum of a matrix into the nearest orthogonal one: directions with small gradients are
learnt as fast as those with large ones. Motion is a fraction of appearance in size, and waits on a plateau
for thousands of steps of AdamW. It is timm's Muon, and takes the matrices of the blocks; AdamW takes
everything else: tubelet embedding, heads, tokens, biases and norms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from timm.optim import Muon
from torch import nn

OptimizerName = Literal["adamw", "muon"]


def build_optimizer(
    name: OptimizerName,
    model: nn.Module,
    groups: Sequence[Mapping[str, Any]],
    rate: float,
    betas: tuple[float, float],
) -> torch.optim.Optimizer:
    """An optimizer of parameter groups.

    Args:
        name: which one.
        model: whose parameters the groups hold.
        groups: with weight decay, and rates of their own where these differ.
        rate: learning rate of the other groups.
        betas: AdamW's; the momentum of Muon is timm's, 0.95.
    """
    if name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
        # Said by fused ones, and Lightning then refuses to clip in mixed precision. Without it gradients are
        # unscaled before they are clipped, as for any other optimizer.
        optimizer._step_supports_amp_scaling = False
        return optimizer
    matrices = {id(parameter) for parameter in block_matrices(model)}
    parts = [part for group in groups for part in _split(group, matrices)]
    return Muon(parts, lr=rate, betas=betas, adjust_lr_fn="match_rms_adamw")


def block_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The trained matrices of all blocks of a model, of its encoder and its decoder."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim == 2 and "blocks" in name.split(".")
    ]


def _split(group: Mapping[str, Any], matrices: set[int]) -> Iterator[dict[str, Any]]:
    """A parameter group as one of Muon and one of AdamW; empty ones are left out."""
    for use_muon in (True, False):
        parameters = [p for p in group["params"] if (id(p) in matrices) == use_muon]
        if parameters:
            # Said outright, as timm would else go by the shape.
            yield {**group, "params": parameters, "use_muon": use_muon}


def refuse_other_optimizer(name: OptimizerName, states: Sequence[Mapping[str, Any]], flag: str) -> None:
    """Refuse to go on with the state of another optimizer.

    Args:
        name: the one that is asked for.
        states: of the optimizers in a checkpoint.
        flag: what the checkpoint was named with.

    Raises:
        ValueError: names the optimizer that goes on.
    """
    saved = (
        "muon" if any("use_muon" in group for state in states for group in state["param_groups"]) else "adamw"
    )
    if saved != name:
        raise ValueError(
            f"{flag} was trained with --model.optimizer {saved}, not {name}: say so, or leave it out"
        )
