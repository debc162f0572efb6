"""Runs `maedfer verify`: reads every sample of a shard folder and names the broken ones."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
from tqdm import tqdm

from maedfer.data.shards.encoding import EXTENSIONS, decode_frames
from maedfer.data.shards.format import SCHEMA, SHARD_NAME, ShardEntry, ShardIndex, read_index
from maedfer.data.shards.records import FIELD_TYPES, OPTIONAL, BrokenSample, TrackRecord
from maedfer.data.shards.samples import DamagedTar, iterate_samples
from maedfer.files import sha256

DECODED_AT_ONCE = 256
"""Number of JPEG frames that are held in memory together."""


@dataclass
class VerifyReport:
    """Counts of shards and samples that were read, and one line per problem; `ok` without any."""

    folder: str
    shards: int = 0
    samples: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing is broken."""
        return not self.problems

    def __str__(self) -> str:
        result = "all whole" if self.ok else f"{len(self.problems)} broken"
        read = f"{self.folder}: read {self.samples} samples in {self.shards} shards, {result}"
        return "\n".join([read, *self.problems])


def verify(folder: str) -> VerifyReport:
    """Checks a shard folder against its index: every file, every record, every frame count.

    Args:
        folder: A folder that `maedfer pack` or `maedfer merge` wrote.

    Raises:
        FileNotFoundError: there is no index.
        UserError: the index cannot be read.
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
        report.problems += [f"{entry.name}: {text}" for text in check_file(root / entry.name, entry)]
        if (root / entry.name).is_file():
            report.samples += _check_samples(root / entry.name, entry, index, keys, report.problems)
    return report


def check_file(path: Path, entry: ShardEntry) -> Iterator[str]:
    """Yields the difference of a shard to its entry of the index, if there is one."""
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
    """Reads the samples of one shard, adds their problems, and returns the number of samples."""
    count = 0
    try:
        with path.open("rb") as stream:
            for sample in iterate_samples(stream, check_end=True):
                count += 1
                key = sample["__key__"].decode()
                if key in keys:
                    problems.append(f"{path.name}: the key {key} is also in {keys[key]}")
                keys[key] = path.name
                problems += [f"{path.name}: sample {key}: {text}" for text in check_sample(sample, index)]
    except DamagedTar as error:
        problems.append(f"{path.name}: breaks off after {count} samples: {error}")
    except OSError as error:
        problems.append(f"{path.name}: cannot be read after {count} samples: {error.strerror}")
    if count != entry.samples:
        problems.append(f"{path.name}: {count} samples, the index says {entry.samples}")
    return count


def check_sample(sample: dict[str, bytes], index: ShardIndex) -> Iterator[str]:
    """Yields a text for each problem of one sample."""
    try:
        record = TrackRecord.from_json(sample.get("json", b""))
    except BrokenSample as error:
        yield str(error)
        return
    key, written = sample["__key__"].decode(), json.loads(sample["json"])
    if missing := FIELD_TYPES.keys() - written.keys() - set(OPTIONAL):
        yield f"its record lacks {', '.join(sorted(missing))}"
    for name in OPTIONAL:
        if name in written and written[name] is None:
            yield f"its {name} is null, and may only be left out"
    if record.schema != SCHEMA or record.key != key:
        yield f"its record is of schema {record.schema} and for the key {record.key}"
    if record.label is not None and index.classes[record.label : record.label + 1] != (record.label_name,):
        yield f"its label {record.label} ({record.label_name}) is not one of the index's classes"
    if record.votes is not None and len(record.votes) != len(index.classes):
        yield f"it has {len(record.votes)} votes for {len(index.classes)} classes"
    yield from _check_frames(sample, record)


def _check_frames(sample: dict[str, bytes], record: TrackRecord) -> Iterator[str]:
    extension = EXTENSIONS.get(record.encoding, "")
    data = sample.get(extension)
    if data is None:
        yield f"has no .{extension} member for its encoding {record.encoding}"
        return
    if record.sha256 is not None and hashlib.sha256(data).hexdigest() != record.sha256:
        yield "its frames do not have the checksum (sha256) of its record"
        return
    try:
        if record.encoding == "h264":
            _count_frames(data, record)
            decode_frames(data, record, [0, record.frames - 1])  # readers rely on the index of the file
            return
        for first in range(0, record.frames, DECODED_AT_ONCE):
            decode_frames(data, record, range(first, min(first + DECODED_AT_ONCE, record.frames)))
    except BrokenSample as error:
        yield str(error).removeprefix(f"sample {record.key}: ")


def _count_frames(data: bytes, record: TrackRecord) -> None:
    """Decodes a whole mp4, of which readers decode only some frames.

    Raises:
        BrokenSample: it does not decode, or not to the record's count.
    """
    try:
        with av.open(io.BytesIO(data), "r") as container:
            count = sum(not frame.is_corrupt for frame in container.decode(video=0))
    except (av.error.FFmpegError, IndexError) as error:
        raise BrokenSample(None, f"its mp4 does not decode: {error}") from error
    if count != record.frames:
        raise BrokenSample(None, f"{count} frames decode, the record says {record.frames}")
