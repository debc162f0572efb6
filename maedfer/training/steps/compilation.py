"""Compiles the model of training steps with `torch.compile`.

Only the model in training steps is compiled, as one graph without breaks. Training batches all have one size,
so it happens once. Evaluation and pictures are not compiled: they are short, and they check masks. Names of
parameters, checkpoints, exports and averages are the same as without it.

Dropout and stochastic depth draw other numbers than without it, but from the same seed of a step, so that a
resumed run repeats itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def call(model: nn.Module, *args: Any) -> Any:
    """Returns the output of a model."""
    return model(*args)


def compiled_call() -> Callable[..., Any]:
    """Returns `call`, compiled when it is first used.

    Unlike `model.compile()` it does not compile evaluation, and unlike `torch.compile(model)` it does not
    rename parameters.
    """
    return torch.compile(call, fullgraph=True, dynamic=False)
