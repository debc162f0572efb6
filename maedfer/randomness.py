"""Derives seeds and random words from names, by hashing: the same on every machine, rank and worker."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def random_words(count: int, *name: str | int, start: int = 0) -> NDArray[np.uint64]:
    """Returns random uint64 (count,), a pure function of the name: words `start` and on of its sequence."""
    return np.random.PCG64(seed_of(*name)).advance(start).random_raw(count)


def seed_of(*name: str | int) -> int:
    """A 128-bit seed hashed from its name, such as (seed, epoch, sample key, view)."""
    text = "\x1f".join(str(part) for part in name)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
