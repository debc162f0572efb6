"""Checks settings, and combinations of them and strategies, that cannot train."""

from __future__ import annotations

import torch
from jsonargparse import Namespace
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import Strategy
from torch import Tensor

from maedfer.errors import UserError
from maedfer.training.distributed.zero_strategy import ZeroStrategy
from maedfer.training.steps.optimizer import OptimizerName


def check_numbers(settings: Namespace) -> None:
    """Checks numbers that fail in Lightning and NumPy without the name of their setting.

    Raises:
        UserError: one is out of range.
    """
    if settings.seed_everything < 0:
        raise UserError("seed_everything", f"{settings.seed_everything} is negative")
    if settings.trainer.accumulate_grad_batches < 1:
        raise UserError("accumulate_grad_batches", "it must be 1 or more")


def check_optimizer(name: OptimizerName, strategy: Strategy) -> None:
    """Checks that a strategy leaves an optimizer what it needs: Muon needs whole matrices.

    Raises:
        UserError: ZeRO lays the matrices end to end and cuts them.
    """
    if name == "muon" and isinstance(strategy, ZeroStrategy):
        raise UserError(
            "optimizer",
            "muon needs whole matrices, which ZeRO cuts: take `strategy=ddp` or `optimizer=adamw`",
        )


def prepare_to_compile(trainer: Trainer) -> None:
    """Checks that compiled steps can run, by compiling a tiny function.

    Raises:
        UserError: names the reason and the remedy.
    """
    strategy = trainer.strategy
    if isinstance(strategy, ZeroStrategy) and strategy.stage == 3:
        raise UserError(
            "compile",
            "does not work with ZeRO 3, which fetches weights while the model runs: take "
            "`strategy=deepspeed_stage_2`, or leave `compile` out",
        )
    torch.compiler.reset()  # the graphs of an earlier run in this process would count against a limit
    try:
        torch.compile(_tiny)(torch.ones(8, device=strategy.root_device))
    except RuntimeError as error:
        raise UserError(
            "compile",
            f"does not work on this machine ({str(error).strip().splitlines()[0]}): install a C++ compiler "
            "(g++) and the headers of Python (python3-dev), for a GPU Triton too, or leave `compile` out",
        ) from error


def _tiny(x: Tensor) -> Tensor:
    return (x.sin() + 1).sum()
