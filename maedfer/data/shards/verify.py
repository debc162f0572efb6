"""`maedfer verify`: re-read every sample of a shard folder and name what is broken."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from tqdm import tqdm

from maedfer.data.shards.encoding import EXTENSIONS, BrokenSample, decode_frames
from maedfer.data.shards.format import (
    SCHEMA,
    SHARD_NAME,
    BrokenShard,
    ShardEntry,
    ShardIndex,
    read_index,
    read_shard,
)
from maedfer.files import sha256

_NUMBER, _NONE = (int, float), (type(None),)

RECORD_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("schema", "frames", "width", "height", "track"), (int,)),
    **dict.fromkeys(("key", "encoding", "source"), (str,)),
    **dict.fromkeys(("fps", "start_s", "end_s"), _NUMBER),
    **dict.fromkeys(("label_name", "subject"), (str, *_NONE)),
    "label": (int, *_NONE),
    "face_ok": (*_NUMBER, *_NONE),
    "fold": (str, int, *_NONE),
    "votes": (list, *_NONE),
    "geometry": (dict, *_NONE),
    "metadata": (dict,),
    "short": (bool,),
}
"""The fields that every record has, and the types their values may be of."""

OPTIONAL_TYPES: Mapping[str, tuple[type, ...]] = {"frame_bytes": (list,), "sha256": (str,)}
"""Fields that only some have: those of one encoding, and a checksum that other writers may leave out."""

DECODED_AT_ONCE = 256
"""JPEG frames that are held in memory together."""


@dataclass
class VerifyReport:
    """What was read and what is wrong with it, one line per problem; `ok` when nothing is."""

    folder: str
    shards: int = 0
    samples: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems

    def __str__(self) -> str:
        read = f"{self.folder}: read {self.samples} samples in {self.shards} shards"
        return (
            f"{read}, all whole"
            if self.ok
            else "\n".join([f"{read}, {len(self.problems)} broken", *self.problems])
        )


def verify(folder: str) -> VerifyReport:
    """Check a shard folder against its index: every file, every record, every frame count.

    Args:
        folder: A folder that `maedfer pack` or `maedfer merge` wrote.

    Raises:
        FileNotFoundError: there is no index.
        ValueError: the index cannot be read.
    """
    index, root = read_index(folder), Path(folder)
    report = VerifyReport(folder)
    listed = {entry.name for entry in index.shards}
    for path in sorted(root.iterdir()):
        if SHARD_NAME.fullmatch(path.name) and path.name not in listed:
            report.problems.append(f"{path.name}: not in the index")
        elif path.name.endswith(".part") or path.name == ".pack":
            report.problems.append(f"{path.name}: left by an interrupted run, run it again")
    keys: dict[str, str] = {}
    for entry in tqdm(index.shards, unit="shard", desc="verify", dynamic_ncols=True):
        report.shards += 1
        report.problems += [f"{entry.name}: {text}" for text in _check_file(root / entry.name, entry)]
        if (root / entry.name).is_file():
            report.samples += _check_samples(root / entry.name, entry, index, keys, report.problems)
    return report


def _check_file(path: Path, entry: ShardEntry) -> Iterator[str]:
    if not path.is_file():
        yield "missing"
        return
    size = path.stat().st_size
    if size != entry.bytes:
        yield f"{size} bytes, the index says {entry.bytes}"
    elif sha256(path) != entry.sha256:
        yield "its checksum (sha256) is not that of the index"


def _check_samples(
    path: Path, entry: ShardEntry, index: ShardIndex, keys: dict[str, str], problems: list[str]
) -> int:
    """Read the samples of one shard and return how many there are."""
    count = 0
    try:
        for sample in read_shard(path):
            count += 1
            key = sample["__key__"].decode()
            if key in keys:
                problems.append(f"{path.name}: the key {key} is also in {keys[key]}")
            keys[key] = path.name
            problems += [f"{path.name}: sample {key}: {text}" for text in check_sample(sample, index)]
    except BrokenShard as error:
        problems.append(f"{path.name}: breaks off after {count} samples: {error.reason}")
    except OSError as error:
        problems.append(f"{path.name}: cannot be read after {count} samples: {error.strerror}")
    if count != entry.samples:
        problems.append(f"{path.name}: {count} samples, the index says {entry.samples}")
    return count


def check_sample(sample: dict[str, bytes], index: ShardIndex) -> Iterator[str]:
    """What is wrong with one sample, as texts; nothing for a whole one."""
    key = sample["__key__"].decode()
    try:
        record = json.loads(sample["json"])
        missing = RECORD_TYPES.keys() - record.keys()
    except (KeyError, ValueError, AttributeError):
        yield "has no JSON record"
        return
    if missing:
        yield f"its record lacks {', '.join(sorted(missing))}"
        return
    wrong = list(_wrong_values(record))
    if wrong:
        yield from wrong
        return
    if record["schema"] != SCHEMA or record["key"] != key:
        yield f"its record is of schema {record['schema']} and for the key {record['key']}"
    if record["label"] is not None and index.classes[record["label"] : record["label"] + 1] != (
        record["label_name"],
    ):
        yield f"its label {record['label']} ({record['label_name']}) is not one of the index's classes"
    if record["votes"] is not None and len(record["votes"]) != len(index.classes):
        yield f"it has {len(record['votes'])} votes for {len(index.classes)} classes"
    yield from _check_frames(sample, record)


def _wrong_values(record: dict[str, Any]) -> Iterator[str]:
    """Fields whose values cannot be what they stand for."""
    for name, types in (RECORD_TYPES | OPTIONAL_TYPES).items():
        value = record.get(name)
        if name in record and (
            not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        ):
            wanted = " or ".join("null" if each is type(None) else each.__name__ for each in types)
            yield f"its {name} is {str(value)[:40]!r}, not {wanted}"
    for name in ("frames", "fps", "width", "height"):
        value = record[name]
        if isinstance(value, _NUMBER) and not value > 0:
            yield f"its {name} is {value}, not more than 0"
    sizes = record.get("frame_bytes")
    if isinstance(sizes, list) and not all(type(size) is int for size in sizes):
        yield "its frame_bytes are not all whole numbers"


def _check_frames(sample: dict[str, bytes], record: dict[str, Any]) -> Iterator[str]:
    extension = EXTENSIONS.get(record["encoding"], "")
    data = sample.get(extension)
    if data is None:
        yield f"has no .{extension} member for its encoding {record['encoding']}"
        return
    if "sha256" in record and hashlib.sha256(data).hexdigest() != record["sha256"]:
        yield "its frames do not have the checksum (sha256) of its record"
        return
    try:
        _decode_all(data, record)
    except BrokenSample as error:
        yield str(error).removeprefix(f"sample {record['key']}: ")


def _decode_all(data: bytes, record: dict[str, Any]) -> None:
    """Decode every frame.

    Raises:
        BrokenSample: one does not decode, or is not of the record's size.
    """
    count = record["frames"]
    if record["encoding"] == "h264":
        _count_frames(data, record)
        decode_frames(data, record, [0, count - 1])  # as readers do it, which trust the index of the file
        return
    for first in range(0, count, DECODED_AT_ONCE):
        decode_frames(data, record, range(first, min(first + DECODED_AT_ONCE, count)))


def _count_frames(data: bytes, record: dict[str, Any]) -> None:
    """Decode a whole mp4, of which readers decode only what they need.

    Raises:
        BrokenSample: it does not decode, or not to the record's count.
    """
    try:
        with av.open(io.BytesIO(data)) as container:
            count = sum(not frame.is_corrupt for frame in container.decode(video=0))
    except (av.error.FFmpegError, IndexError) as error:
        raise BrokenSample(f"its mp4 does not decode: {error}") from error
    if count != record["frames"]:
        raise BrokenSample(f"{count} frames decode, the record says {record['frames']}")
