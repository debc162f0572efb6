"""Reads and writes the shard format: a folder of packed face tracks.

A folder has `<split>-<000000>.tar` files and one `index.json`. A sample is one face track, `<key>.json` and
its frames (`<key>.mjpg` or `<key>.mp4`), next to each other in a tar, so that WebDataset reads it in
sequence. `data_shards/README.md` describes every field for readers who have only the files.

Bytes are a pure function of the samples: members carry no time, owner or machine, JSON keys are sorted. Files
are written under a temporary name and renamed, so a name without `.part` is always complete.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maedfer.data.shards.samples import DamagedTar, Sample, iterate_samples
from maedfer.errors import UserError
from maedfer.files import dump_json, sha256, write_atomically

SCHEMA = 1
INDEX_NAME = "index.json"
SHEET_NAME = "contact_sheet.png"
"""Picture that `maedfer info` draws into a folder of shards; not part of the format."""

SHARD_NAME = re.compile(r"(?P<split>[a-z0-9_]+)-(?P<number>\d{6})\.tar")


@dataclass(frozen=True)
class ShardEntry:
    """A line of the index: a shard file, the samples it holds, its size and its checksum."""

    name: str
    samples: int
    bytes: int
    sha256: str

    @property
    def split(self) -> str:
        """The split a shard belongs to, taken from its name (`train` of `train-000003.tar`)."""
        match = SHARD_NAME.fullmatch(self.name)
        if match is None:
            raise ValueError(f"shard name {self.name!r} is not <split>-<six digits>.tar")
        return match["split"]


@dataclass(frozen=True)
class ShardIndex:
    """The content of `index.json`: the shards of a folder, and facts that hold for all their samples.

    `classes` is the ordered list of label names (empty without labels); `geometry` describes how faces were
    cropped, `encoding` how frames are stored, `made_by` the program, its version and its settings.
    """

    shards: tuple[ShardEntry, ...]
    classes: tuple[str, ...] = ()
    geometry: Mapping[str, Any] = field(default_factory=dict)
    encoding: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def of_split(self, split: str) -> tuple[ShardEntry, ...]:
        """Returns the shards of one split, in order; empty when the folder has none."""
        return tuple(entry for entry in self.shards if entry.split == split)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the folder, sorted by name."""
        return tuple(sorted({entry.split for entry in self.shards}))


def read_index(folder: str | Path) -> ShardIndex:
    """Reads and checks `index.json` of a shard folder.

    Raises:
        FileNotFoundError: the folder or its index is missing.
        UserError: the index is not JSON, or not of this schema.
    """
    path = Path(folder) / INDEX_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no {INDEX_NAME} in {folder}: pack videos into it first with `maedfer pack`")
    return parse_index(path.read_bytes(), folder)


def parse_index(data: bytes, folder: str | Path) -> ShardIndex:
    """Checks the content of an `index.json` of a folder or an address.

    Raises:
        UserError: it is not JSON, or not of this schema.
    """
    try:
        raw = json.loads(data.decode("utf-8"))
        if raw["schema"] != SCHEMA:
            raise ValueError(f"schema {raw['schema']} is not the schema {SCHEMA} of this version")
        shards = tuple(ShardEntry(**entry) for entry in raw["shards"])
        for entry in shards:
            _ = entry.split  # refuses names that no reader would find
            bytes.fromhex(entry.sha256)  # refuses what is no checksum
        return ShardIndex(
            shards, tuple(raw["classes"]), raw["geometry"], raw["encoding"], raw["made_by"], raw["schema"]
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            None, f"{folder}: its {INDEX_NAME} is not a shard index: {error}; run `maedfer verify {folder}`"
        ) from error


def write_index(folder: str | Path, index: ShardIndex) -> None:
    """Writes `index.json` atomically."""
    write_atomically(Path(folder) / INDEX_NAME, dump_json(asdict(index), indent=1))


def write_shard(path: Path, samples: Iterable[Mapping[str, bytes]]) -> ShardEntry:
    """Writes one shard; a sample maps `__key__` to its key (as bytes) and extensions to member contents.

    Members of a sample stand in sorted order of their extension. Equal samples give equal bytes.
    """
    count = 0
    part = path.with_name(path.name + ".part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            key = sample["__key__"].decode()
            for extension in sorted(name for name in sample if name != "__key__"):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mode = len(sample[extension]), 0o644
                tar.addfile(info, io.BytesIO(sample[extension]))
            count += 1
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(path)
    return ShardEntry(path.name, count, path.stat().st_size, sha256(path))


def read_shard(path: Path, only: Container[str] | None = None) -> Iterator[Sample]:
    """Yields the samples of a shard one after the other, in the form that `write_shard` takes.

    Args:
        path: The tar.
        only: Extensions to read; other members are left out without reading them.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file is not a tar, or breaks off in the middle.
    """
    count = 0
    try:
        with path.open("rb") as stream:
            for sample in iterate_samples(stream, only, check_end=True):
                yield sample
                count += 1
    except DamagedTar as error:
        text = f"{path} breaks off after {count} samples ({error}); run `maedfer verify {path.parent}`"
        raise UserError(None, text) from error


def shard_name(split: str, number: int) -> str:
    """Returns the file name of shard `number` of a split.

    Raises:
        UserError: the split has other characters than a file name of the format allows.
    """
    name = f"{split}-{number:06d}.tar"
    if SHARD_NAME.fullmatch(name) is None:
        raise UserError("split", f"{split!r} may hold only lower-case letters, digits and '_'")
    return name
