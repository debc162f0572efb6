"""Passes batches from a loader worker to the main process in shared memory that is reused.

By default, torch puts every batch into new shared memory. The kernel clears and maps it page by page, which
takes a quarter of a worker's time, and each tensor is passed with a file descriptor of its own. Here a worker
reuses a few blocks for the clips, and sends everything else in the message. On arrival, the main process
copies the clips out of the block and marks it as free.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maedfer.data.loading.batch import ClipBatch
from maedfer.errors import UserError

MOST_BLOCKS = 4
"""Blocks that a worker keeps: two wait (the loader's prefetch), one is being filled, one is in transit."""


class SharedBlocks:
    """Allocates shared memory for clips; one more byte at the end of a block marks it as in use."""

    def __init__(self) -> None:
        self._blocks: list[Tensor] = []

    def empty(self, shape: Sequence[int]) -> Tensor:
        """Returns a uint8 tensor of this shape, in a free block if there is one, else in a new one.

        Raises:
            UserError: there is no room for a new one.
        """
        size = math.prod(shape)
        self._blocks = [block for block in self._blocks if len(block) == size + 1]
        block = next((block for block in self._blocks if not block[-1]), None)
        if block is None:  # the first batches, or ones that nobody has taken yet
            try:
                block = torch.zeros(size + 1, dtype=torch.uint8)
                block.share_memory_()  # type: ignore[no-untyped-call]  # torch does not annotate it
            except RuntimeError as error:
                raise UserError(
                    "batch_size",
                    f"no shared memory is left for a batch of {size / 1e6:.0f} MB: give the machine more "
                    "(/dev/shm; docker run --shm-size), or lower `workers` or `batch_size`",
                ) from error
            self._blocks = [*self._blocks, block][-MOST_BLOCKS:]
        block[-1] = 1
        return block[:-1].view(*shape)


class SharedBatch:
    """Arrives in another process as the `ClipBatch` it was made of.

    Args:
        batch: Its `clips` lie in memory of `SharedBlocks`.
    """

    def __init__(self, batch: ClipBatch) -> None:
        self._batch = batch

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = {name: tensor.numpy() for name, tensor in self._batch.tensors.items() if name != "clips"}
        names = {field.name for field in fields(self._batch)} - {"clips", *arrays}
        rest = {name: getattr(self._batch, name) for name in names}
        return _received, (self._batch.clips, arrays, rest)


def _received(clips: Tensor, arrays: Mapping[str, np.ndarray], rest: dict[str, Any]) -> ClipBatch:
    # Keeps the order of the axes in memory; pinned, so that the DataLoader need not copy once more for a GPU.
    own = torch.empty_like(clips, pin_memory=torch.cuda.is_available()).copy_(clips)
    clips.as_strided((), (), clips.numel()).zero_()  # the byte behind: the worker may write here again
    received = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return ClipBatch(clips=own, **rest | received)
