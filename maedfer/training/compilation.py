"""`--model.compile`: training steps through `torch.compile`, and what that cannot go with.

Only the model in training steps is compiled, as one graph without breaks. Training batches all have one size,
so it happens once. Evaluation and pictures run as written: they are short, and there masks are checked.
Weights know nothing of it: names, checkpoints, exports and averages are what they are without.

Dropout and stochastic depth draw other numbers than without it, but from the same seed of a step, so that a
resumed run repeats itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from maedfer.training.zero_strategy import ZeroStrategy


def call(model: nn.Module, *args: Any) -> Any:
    """The model's answer."""
    return model(*args)


def compiled_call() -> Callable[..., Any]:
    """`call`, compiled when it is first used.

    Unlike `model.compile()` it leaves evaluation alone, and unlike `torch.compile(model)` the names of
    parameters.
    """
    return torch.compile(call, fullgraph=True, dynamic=False)


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
