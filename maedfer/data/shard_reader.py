"""Reads samples out of shards, in the order a plan asks for them, without decoding anything.

WebDataset opens the shards (local files or whatever its `gopen` knows) and groups members into samples, as
one explicit pipeline per shard: no resampling, no splitting by node or worker, nothing taken from the
environment.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds

from maedfer.data.encoding import EXTENSIONS
from maedfer.data.plan import ShardTable
from maedfer.data.shards import INDEX_NAME, ShardIndex, read_index


class UnusableSample(ValueError):
    """A sample that cannot be used: its name (key, or place in a shard) and the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class RawSample:
    """One sample as it lies in a shard: its key, its JSON record and its frames, undecoded."""

    key: str
    record: bytes
    frames: bytes


def shard_url(shards: str, name: str) -> str:
    """Where a shard lies: in a folder, under an address, or wherever `{name}` stands in it.

    `pipe:aws s3 cp s3://bucket/faces/{name} -` reads from an object store through its own client.
    """
    return shards.replace("{name}", name) if "{name}" in shards else f"{shards.rstrip('/')}/{name}"


@dataclass(frozen=True)
class ShardReader:
    """Samples of a split by their visits.

    Attributes:
        shards: Folder, address, or pattern with `{name}`.
        table: The shards of the split.
    """

    shards: str
    table: ShardTable

    def read(self, sequence: np.ndarray) -> Iterator[tuple[int, RawSample | UnusableSample]]:
        """The samples of visits (n,), in their order; for one that cannot be read, the reason.

        Visits that follow each other in a shard are read in one pass over it.

        Raises:
            FileNotFoundError: a shard of the index is not there.
            ValueError: a shard holds more samples than the index says.
        """
        for shard, visits in self._passes(sequence):
            yield from self._read_shard(shard, visits)

    def _passes(self, sequence: np.ndarray) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Runs of (position in the shard, visit) that one pass over a shard can serve."""
        samples = sequence % self.table.samples
        shards = np.searchsorted(self.table.starts, samples, side="right") - 1
        positions = samples - self.table.starts[shards]
        another = (np.diff(shards, prepend=-1) != 0) | (np.diff(positions, prepend=-1) < 0)
        for run in np.split(np.arange(len(sequence)), np.flatnonzero(another)[1:]):
            if len(run):
                yield shards[run[0]], list(zip(positions[run].tolist(), sequence[run].tolist(), strict=True))

    def _read_shard(
        self, shard: int, wanted: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[int, RawSample | UnusableSample]]:
        """One pass over a shard, up to the last sample wanted of it."""
        visits = defaultdict(list)
        for position, visit in wanted:
            visits[position].append(visit)
        name, expected, errors = self.table.names[shard], self.table.counts[shard], []
        found = -1
        for found, members in enumerate(_samples(shard_url(self.shards, name), errors)):
            if found >= expected:
                raise ValueError(self._miscounted(name, f"more than {expected}", expected))
            for visit in visits.pop(found, ()):
                yield visit, _raw(members, name)
            if not visits and found < expected - 1:
                return
        if any(isinstance(error, FileNotFoundError) for error in errors):
            raise FileNotFoundError(f"--data.shards {self.shards} has no {name}, which its index lists")
        for position, missing in visits.items():
            reason = self._miscounted(name, str(found + 1), expected)
            cause = "".join(f" ({error})" for error in errors[:1])
            for visit in missing:
                yield visit, UnusableSample(f"sample {position} of {name}", reason + cause)

    def _miscounted(self, name: str, found: str, expected: int) -> str:
        return f"{name} holds {found} samples, the index says {expected}: run `maedfer verify {self.shards}`"


def _samples(url: str, errors: list[Exception]) -> Iterator[dict[str, Any]]:
    """Members of each sample of a shard; a damaged shard ends early, and `errors` says why."""

    def stop(error: Exception) -> bool:
        errors.append(error)
        return False

    return iter(wds.DataPipeline(wds.SimpleShardList([url]), wds.tarfile_to_samples(handler=stop)))


def _raw(members: dict[str, Any], shard: str) -> RawSample | UnusableSample:
    """The two members of a sample, or what is wrong with them."""
    key = members["__key__"]
    frames = [members[extension] for extension in EXTENSIONS.values() if extension in members]
    if "json" not in members or len(frames) != 1:
        return UnusableSample(key, f"{shard} lacks its record or its frames: run `maedfer verify`")
    return RawSample(key, members["json"], frames[0])


def read_remote_index(shards: str) -> ShardIndex:
    """The index of a folder, or of remote shards in the way that the shards themselves are read.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not an index of this version.
    """
    if "://" not in shards and "{name}" not in shards:
        return read_index(shards)
    with tempfile.TemporaryDirectory() as folder, wds.gopen(shard_url(shards, INDEX_NAME)) as stream:
        (Path(folder) / INDEX_NAME).write_bytes(stream.read())
        return read_index(folder)
