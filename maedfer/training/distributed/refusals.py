"""Refuses combinations of settings and strategies that cannot train."""

from __future__ import annotations

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import Strategy
from torch import Tensor

from maedfer.training.distributed.zero_strategy import ZeroStrategy
from maedfer.training.steps.optimizer import (
    OptimizerName,
)


def refuse_optimizer(name: OptimizerName, strategy: Strategy) -> None:
    """Refuse Muon where its matrices are laid end to end and cut in pieces.

    Raises:
        ValueError: names the remedies.
    """
    if name == "muon" and isinstance(strategy, ZeroStrategy):
        raise ValueError(
            "--model.optimizer muon needs whole matrices, which ZeRO cuts: take --trainer.strategy ddp, or "
            "--model.optimizer adamw"
        )


def prepare_to_compile(trainer: Trainer) -> None:
    """Refuse where compiled steps cannot run; a tiny function is compiled to find out.

    Raises:
        ValueError: names the reason and the remedy.
    """
    strategy = trainer.strategy
    if isinstance(strategy, ZeroStrategy) and strategy.stage == 3:
        raise ValueError(
            "--model.compile does not go with ZeRO 3, which fetches weights while the model runs: take "
            "--trainer.strategy deepspeed_stage_2, or leave --model.compile out"
        )
    torch.compiler.reset()  # the graphs of an earlier run in this process would count against a limit
    try:
        torch.compile(_tiny)(torch.ones(8, device=strategy.root_device))
    except RuntimeError as error:
        raise ValueError(
            f"--model.compile cannot work on this machine ({str(error).strip().splitlines()[0]}): install a "
            "C++ compiler (g++) and the headers of Python (python3-dev), for a GPU Triton too, or leave "
            "--model.compile out"
        ) from error


def _tiny(x: Tensor) -> Tensor:
    return (x.sin() + 1).sum()
