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
from torch import nn


def call(model: nn.Module, *args: Any) -> Any:
    """The model's answer."""
    return model(*args)


def compiled_call() -> Callable[..., Any]:
    """`call`, compiled when it is first used.

    Unlike `model.compile()` it leaves evaluation alone, and unlike `torch.compile(model)` the names of
    parameters.
    """
    return torch.compile(call, fullgraph=True, dynamic=False)
