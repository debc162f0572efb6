"""The shards of one split in arrays: names, sample counts, sizes and checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maedfer.data.shards.format import ShardEntry
from maedfer.files import dump_json


@dataclass(frozen=True, eq=False)
class ShardTable:
    """The shards of one split, 66 bytes each: every loader worker gets a copy of the table.

    Attributes:
        fingerprint: Hash of the names, counts and checksums of all shards.
        samples: The number of samples in all shards.
        counts: Samples of each shard, int64 (shards,).
        names: File names, ASCII (shards,).
        sizes: Bytes of each file, int64 (shards,).
        checksums: SHA-256 of each file, 32 bytes (shards,).
    """

    fingerprint: str
    samples: int
    counts: NDArray[np.int64]
    names: NDArray[np.bytes_]
    sizes: NDArray[np.int64]
    checksums: NDArray[np.void]

    @classmethod
    def of(cls, entries: Sequence[ShardEntry]) -> ShardTable:
        """Builds the table of index entries."""
        rows = [[entry.name, entry.samples, entry.sha256] for entry in entries]
        return cls(
            fingerprint=hashlib.sha256(dump_json(rows)).hexdigest(),
            samples=sum(entry.samples for entry in entries),
            counts=np.array([entry.samples for entry in entries], np.int64),
            names=np.array([entry.name for entry in entries], np.bytes_),
            sizes=np.array([entry.bytes for entry in entries], np.int64),
            checksums=np.array([bytes.fromhex(entry.sha256) for entry in entries], "V32"),
        )

    def __len__(self) -> int:
        """Returns the number of shards."""
        return len(self.counts)

    def entry(self, number: int) -> ShardEntry:
        """Returns the index entry of a shard."""
        return ShardEntry(
            name=self.names[number].decode(),
            samples=int(self.counts[number]),
            bytes=int(self.sizes[number]),
            sha256=bytes(self.checksums[number]).hex(),
        )

    @property
    def starts(self) -> NDArray[np.int64]:
        """The number of the first sample of each shard, int64 (shards,)."""
        return np.cumsum(self.counts) - self.counts
