"""What a computation costs besides time: operations, and memory that waits for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import in_turn


def flops_of(run: Callable[[], object]) -> int:
    """Floating-point operations of one call, two for each multiplication with its addition."""
    # Compiled code cannot be looked into; uncompiled, it does the same operations.
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def kept_bytes(run: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of what is run, on any device, `meta` too.

    Memory that several tensors share counts once, and parameters not at all: they are there anyway.
    """
    kept = {_memory(parameter): 0 for parameter in parameters}
    held: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        held.append(tensor)  # while it lives, no other one gets its memory
        kept.setdefault(_memory(tensor), tensor.untyped_storage().nbytes())
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = run()
    del outcome
    return sum(kept.values())


def _memory(tensor: Tensor) -> int:
    """What tells one piece of memory from another; a meta tensor has no address."""
    return tensor.untyped_storage()._cdata


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large product of matrices: the most that this machine gives."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    timing = in_turn({"product": lambda: a @ b}, 5, device)["product"]
    return 2 * side**3 / min(timing.seconds)
