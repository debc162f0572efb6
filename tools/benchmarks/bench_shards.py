"""The shards of the loader bench: `maedfer pack` makes them, and they are made as long as a bench needs.

Bytes do not grow with an epoch: a few tracks stand under several names, so that a clip starts elsewhere in
each, and the index lists the same shard again and again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.face_videos import kept, source_of
from benchmarks.plain_loader import FACE_SHARE
from maedfer.data.faces import crops, face_tracks
from maedfer.data.pack import one_source as pack_source
from maedfer.data.pack.command import pack
from maedfer.data.shards import encoding as encoding_module
from maedfer.data.shards.encoding import DEFAULT_QUALITY, Encoding
from maedfer.data.shards.format import INDEX_NAME, read_index, read_shard, write_index, write_shard
from maedfer.data.video import video_file as video
from maedfer.files import dump_json

Sample = Mapping[str, bytes]


def packed(cache: Path, videos: Sequence[Path], encoding: Encoding, size: int) -> Path:
    """Shards of the part of the videos that upstream keeps, packed once and kept for the next run."""
    source = videos[0].parent
    code = source_of(encoding_module, crops, face_tracks, pack_source, video)
    settings = [source.name, size, DEFAULT_QUALITY[encoding], FACE_SHARE, code]
    folder = kept(cache, f"{source.name}-{encoding}", settings)
    options = {"detector": "none", "frame_crop": FACE_SHARE, "encoding": encoding, "size": size}
    pack([str(source)], str(folder), **options)
    return folder


def lengthened(folder: Path, names: int, samples: int) -> Path:
    """The shards with `names` samples on disk that an index lists until there are `samples`.

    Args:
        folder: from `packed`.
        names: samples on disk; the tracks are repeated under other names.
        samples: of an epoch, at least.
    """
    long = folder.with_name(f"{folder.name}-{names}-of-{samples}")
    if not (long / INDEX_NAME).is_file():
        long.mkdir(exist_ok=True)
        entry = write_shard(long / "train-000000.tar", _renamed(samples_of(folder), names))
        listed = (entry,) * -(-samples // entry.samples)
        write_index(long, replace(read_index(folder), shards=listed))
    return long


def samples_of(folder: Path) -> list[Sample]:
    """All samples of a folder of shards."""
    return [sample for entry in read_index(folder).shards for sample in read_shard(folder / entry.name)]


def _renamed(samples: Sequence[Sample], names: int) -> Iterator[Sample]:
    """The samples over and over, each time with another key."""
    for number in range(names):
        sample = samples[number % len(samples)]
        key = f"name{number:04d}-{sample['__key__'].decode()}"
        record = json.loads(sample["json"]) | {"key": key}
        yield {**sample, "__key__": key.encode(), "json": dump_json(record)}
