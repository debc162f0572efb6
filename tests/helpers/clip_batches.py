"""Small batches for tests of what reads them."""

import torch

from maedfer.data.loading.batch import ClipBatch


def clip_batch(keys="ab", **changes) -> ClipBatch:
    """Makes a batch of grey clips, one for each key; `changes` are other values of its fields."""
    count = len(keys)
    values = {
        "clips": torch.full((count, 2, 3, 4, 4), 128, dtype=torch.uint8),
        "boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]] * count),
        "flips": torch.zeros(count, dtype=torch.bool),
        "masks": None,
        "targets": None,
        "seeds": list(range(count)),
        "valid": torch.ones(count, dtype=torch.bool),
        "keys": list(keys),
        "starts": [0.0] * count,
        "epoch": 0,
        "batch": 0,
        "broken": [],
    }
    return ClipBatch(**values | changes)
