"""Reads samples out of shards, in the order a plan asks for them, without decoding anything.

A local shard is opened in place, any other is fetched whole before (`remote.py`).
"""

import re
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from maedfer.data.shards.encoding import EXTENSIONS
from maedfer.data.shards.format import INDEX_NAME, ShardIndex, parse_index, read_index
from maedfer.data.shards.remote import Fetcher, RemoteFile, fetched_in_turn
from maedfer.data.shards.samples import DamagedTar, Sample, iterate_samples
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError

_ELSEWHERE = re.compile(r"pipe:|(?!file:)[A-Za-z][A-Za-z0-9+.-]*://")
"""Matches the beginning of the address of remote shards."""


class UnusableSample(Exception):
    """Reports a sample that cannot be used.

    Attributes:
        name: Key of the sample, or its position in a shard.
        reason: Cause.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class RawSample:
    """A stored sample: its key, its JSON record and its frames, undecoded."""

    key: str
    record: bytes
    frames: bytes


def shard_url(shards: str, name: str) -> str:
    """Returns the path or address of a file of the shards: `{name}` stands for it, or else it is appended.

    `pipe:aws s3 cp s3://bucket/faces/{name} -` reads from an object store through its own client.
    """
    return shards.replace("{name}", name) if "{name}" in shards else f"{shards.rstrip('/')}/{name}"


def open_shards(
    shards: str, table: ShardTable, numbers: Iterable[int], fetcher: Fetcher
) -> Generator[BinaryIO, None, None]:
    """Yields shards by their numbers, each open until the next is requested.

    Raises:
        FileNotFoundError: a shard of the index is missing.
        FetchFailed: a remote one cannot be fetched.
    """
    entries = (table.entry(number) for number in numbers)
    if _ELSEWHERE.match(shards):
        remote = (
            RemoteFile(entry.name, shard_url(shards, entry.name), size=entry.bytes, sha256=entry.sha256)
            for entry in entries
        )
        yield from fetched_in_turn(remote, fetcher)
        return
    for entry in entries:
        try:
            stream = _local(shard_url(shards, entry.name)).open("rb")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"`shards={shards}` has no {entry.name}, which its index lists"
            ) from error
        with stream:
            yield stream


def _local(address: str) -> Path:
    """Returns the path of a local file, which may be given as `file://`."""
    return Path(url2pathname(urlsplit(address).path) if address.startswith("file:") else address)


@dataclass(frozen=True)
class ShardReader:
    """Reads samples of a split by their visits (epoch * samples + sample).

    Attributes:
        shards: Folder, address, or pattern with `{name}`.
        table: The shards of the split.
        fetcher: Fetches remote shards.
    """

    shards: str
    table: ShardTable
    fetcher: Fetcher = field(default_factory=Fetcher)

    def read(self, sequence: np.ndarray) -> Iterator[tuple[int, RawSample | UnusableSample]]:
        """Yields the samples of visits (n,), in their order; the reason instead of one that cannot be read.

        Visits that follow each other in a shard are read in one pass over it.

        Raises:
            FileNotFoundError: a shard of the index is missing.
            UserError: a shard holds more samples than the index says, or a remote one cannot be fetched.
        """
        samples, starts = sequence % self.table.samples, self.table.starts
        shards = np.searchsorted(starts, samples, side="right") - 1
        positions = samples - starts[shards]
        another = (np.diff(shards, prepend=-1) != 0) | (np.diff(positions, prepend=-1) < 0)
        firsts = np.flatnonzero(another)
        numbers, runs = shards[firsts].tolist(), pairwise([*firsts.tolist(), len(sequence)])
        with closing(open_shards(self.shards, self.table, numbers, self.fetcher)) as streams:
            for shard, (first, end), stream in zip(numbers, runs, streams, strict=True):
                wanted = zip(positions[first:end].tolist(), sequence[first:end].tolist(), strict=True)
                yield from self._read_shard(shard, wanted, stream)

    def _read_shard(
        self, shard: int, wanted: Iterable[tuple[int, int]], stream: BinaryIO
    ) -> Iterator[tuple[int, RawSample | UnusableSample]]:
        """Passes over a shard once, up to the last (position, visit) wanted of it."""
        visits = defaultdict(list)
        for position, visit in wanted:
            visits[position].append(visit)
        entry, found, cause = self.table.entry(shard), 0, ""
        name, expected = entry.name, entry.samples
        try:
            for sample in iterate_samples(stream):
                if found == expected:
                    raise UserError("shards", self._miscounted(name, f"more than {expected}", expected))
                for visit in visits.pop(found, ()):
                    yield visit, _raw(sample, name)
                found += 1
                if not visits and found < expected:
                    return
        except (DamagedTar, OSError) as error:
            cause = f" ({error})"
        for position, missing in visits.items():
            reason = self._miscounted(name, str(found), expected) + cause
            for visit in missing:
                yield visit, UnusableSample(f"sample {position} of {name}", reason)

    def _miscounted(self, name: str, found: str, expected: int) -> str:
        return f"{name} holds {found} samples, the index says {expected}: run `maedfer verify {self.shards}`"


def _raw(sample: Sample, shard: str) -> RawSample | UnusableSample:
    """Returns the two members of a sample, or the reason why it is unusable."""
    key = sample["__key__"].decode()
    frames = [sample[extension] for extension in EXTENSIONS.values() if extension in sample]
    if "json" not in sample or len(frames) != 1:
        return UnusableSample(key, f"{shard} lacks its record or its frames: run `maedfer verify`")
    return RawSample(key, sample["json"], frames[0])


def index_of(shards: str, fetcher: Fetcher) -> ShardIndex:
    """Reads the index of a folder, or of remote shards.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be fetched, or is not an index of this version.
    """
    address = shard_url(shards, INDEX_NAME)
    if not _ELSEWHERE.match(shards):
        return read_index(_local(address).parent)
    with fetcher.fetch(RemoteFile(INDEX_NAME, address)) as stream:
        return parse_index(stream.read(), shards)
