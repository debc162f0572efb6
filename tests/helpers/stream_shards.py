"""Tiny shards for the tests of the stream: random 20 px faces of nobody, and the same with damage."""

import json
from pathlib import Path

import numpy as np

from maedfer.data.shards.encoding import encode_track
from maedfer.data.shards.format import ShardIndex, shard_name, write_index, write_shard

FPS = 12.5


def stream_sample(key, frames=34, size=20, label=None, **changes):
    """The members of one sample; `changes` overwrite fields of its record."""
    rng = np.random.default_rng(sum(key.encode()))
    base = rng.integers(0, 256, (1, size, size, 3))
    pictures = np.clip(base + np.arange(frames)[:, None, None, None], 0, 255).astype(np.uint8)
    encoded = encode_track(pictures, "jpeg", FPS)
    record = {
        "key": key,
        "frames": frames,
        "fps": FPS,
        "width": size,
        "height": size,
        "encoding": "jpeg",
        "frame_bytes": encoded.frame_bytes,
        "label": label,
        **changes,
    }
    return {"__key__": key.encode(), "json": json.dumps(record).encode(), "mjpg": encoded.data}


def write_stream_shards(folder: Path, train=(7, 6, 8, 5), val=(3, 2), edit=None) -> Path:
    """Shards with so many samples each; `edit(key, members)` may damage a sample or return None for none."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for split, counts in (("train", train), ("val", val)):
        for number, count in enumerate(counts):
            keys = [f"{split}{number}-{place:02d}" for place in range(count)]
            samples = [stream_sample(key, 31 + place % 5, label=place) for place, key in enumerate(keys)]
            if edit is not None:
                samples = [edit(key, sample) for key, sample in zip(keys, samples, strict=True)]
            entries.append(write_shard(folder / shard_name(split, number), samples))
    write_index(folder, ShardIndex(tuple(entries)))
    return folder
