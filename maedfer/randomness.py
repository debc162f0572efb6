"""Derives seeds and random words from names, by hashing: the same on every machine, rank and worker."""

from __future__ import annotations

import hashlib

import numpy as np


def random_words(count: int, *name: str | int) -> np.ndarray:
    """Draws uint64 numbers (count,), a pure function of the name."""
    return np.random.PCG64(seed_of(*name)).random_raw(count)


def seed_of(*name: str | int) -> int:
    """Returns a 128-bit seed hashed from its name, such as (seed, epoch, sample key, view)."""
    text = "\x1f".join(str(part) for part in name)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
