"""The shards of one split as numbers: names, sample counts, sizes and checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maedfer.data.shards.format import ShardEntry
from maedfer.files import dump_json


@dataclass(frozen=True)
class ShardTable:
    """The shards of one split: what a plan needs of them, and sizes and checksums for who fetches them."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    fingerprint: str
    sizes: tuple[int, ...] = ()
    checksums: tuple[str, ...] = ()

    @classmethod
    def of(cls, entries: Sequence[ShardEntry]) -> ShardTable:
        """The table of index entries; shards with other names, counts or bytes have another fingerprint."""
        rows = [[entry.name, entry.samples, entry.sha256] for entry in entries]
        fingerprint = hashlib.sha256(dump_json(rows)).hexdigest()
        names, counts = tuple(e.name for e in entries), tuple(e.samples for e in entries)
        sizes, checksums = tuple(e.bytes for e in entries), tuple(e.sha256 for e in entries)
        return cls(names, counts, fingerprint, sizes, checksums)

    @property
    def samples(self) -> int:
        """Samples in all shards."""
        return sum(self.counts)

    @property
    def starts(self) -> np.ndarray:
        """Number of the first sample of each shard, int64 (shards,)."""
        return np.cumsum((0, *self.counts[:-1]), dtype=np.int64)
