"""What takes the steps of a run: AdamW, as published, or Muon, which learns masked autoencoders several times
as fast (README, "Should I pretrain?").

Muon (K. Jordan, 2024; its steps scaled as in arXiv 2502.16982, so that rates and decays found for AdamW stay
right) turns the momentum of a matrix into the nearest orthogonal one: directions with small gradients are
learnt as fast as those with large ones. Motion has a tenth of the gradient of appearance, and waits on a
plateau for thousands of steps of AdamW. It is timm's Muon, and takes the matrices of the blocks; AdamW takes
everything else: tubelet embedding, heads, tokens, biases and norms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning.strategies import Strategy
from timm.optim import Muon
from torch import nn

from maedfer.training.zero_strategy import ZeroStrategy

OptimizerName = Literal["adamw", "muon"]


def build_optimizer(
    name: OptimizerName,
    model: nn.Module,
    groups: Sequence[Mapping[str, Any]],
    rate: float,
    betas: tuple[float, float],
    strategy: Strategy,
) -> torch.optim.Optimizer:
    """An optimizer of parameter groups.

    Args:
        name: which one.
        model: whose parameters the groups hold.
        groups: with weight decay, and rates of their own where these differ.
        rate: learning rate of the other groups.
        betas: AdamW's.
        strategy: how the run is spread over its ranks.

    Raises:
        ValueError: Muon with nothing to do, or under ZeRO.
    """
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
    if isinstance(strategy, ZeroStrategy):
        # Laid end to end and cut in pieces, none of them would be taken for a matrix.
        raise ValueError(
            "--model.optimizer muon needs whole matrices, which ZeRO cuts: take --trainer.strategy ddp, or "
            "--model.optimizer adamw"
        )
    matrices = {id(parameter) for parameter in block_matrices(model)}
    if not matrices:
        raise ValueError(
            "--model.optimizer muon trains the blocks of an encoder, and here they are frozen: take adamw"
        )
    return Muon([part for group in groups for part in _split(group, matrices)], lr=rate, betas=betas)


def block_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The trained matrices of all blocks of a model, of its encoder and its decoder."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim == 2 and "blocks" in name.split(".")
    ]


def _split(group: Mapping[str, Any], matrices: set[int]) -> Iterator[dict[str, Any]]:
    """A parameter group as one of Muon and one of AdamW; empty ones are left out."""
    of_muon = [parameter for parameter in group["params"] if id(parameter) in matrices]
    of_adamw = [parameter for parameter in group["params"] if id(parameter) not in matrices]
    for parameters, fallback in ((of_muon, False), (of_adamw, True)):
        if parameters:
            yield {**group, "params": parameters, "use_fallback": fallback}
