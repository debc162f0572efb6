"""Loading clips, from files to batches: shards of `maedfer pack` against the plain way on the same videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import torch

from benchmarks.bench_shards import lengthened, packed
from benchmarks.clip_difference import clip_difference
from benchmarks.encodings import encoding_rows
from benchmarks.face_videos import describe_videos, face_videos
from benchmarks.loader_figure import draw_loader
from benchmarks.loader_rates import CLIPS_PER_SAMPLE, ENCODINGS, loading_rates, our_batches, rate_rows
from benchmarks.memory import KINDS, can_measure, memory_rows
from benchmarks.plain_loader import SIZE, require_decord
from benchmarks.result import Result, Row
from maedfer.errors import UserError

LOOKS = 20
"""How often the memory of a worker is looked at."""

ENCODED = 8
"""Videos, at most, that the table of encodings is made of."""

SHORTEST_EPOCH = 20_000
"""Samples of an epoch, at least, so that no timed stretch reaches its end."""

RATE_COLUMNS = {
    **{"way": "", "workers": "d", "per_core": ",.1f", "core_ratio": ".1f"},
    **{"per_second": ",.1f", "second_ratio": ".1f", "whole_per_core": ",.1f", "whole_ratio": ".1f"},
    **{"levels": ".2f", "psnr_db": ".1f", "apart_ms": ".1f"},
}
ENCODING_COLUMNS = {
    **{"stored_as": "", "kib_per_s": ".1f", "psnr_db": ".1f"},
    **{"clips_per_s_1": ",.0f", "clips_per_s_4": ",.0f"},
}
MEMORY_COLUMNS = {
    **{"shards": "", "process": "", "clips": ",d"},
    **{f"{part}_{kind}": ".2f" for kind in KINDS for part in ("first", "last", "slope")},
}


def loader(
    out: Path = Path("runs/bench"),
    videos: Path | None = None,
    workers: int = 1,
    batch_size: int = 8,
    seconds: float = 1.0,
    rounds: int = 5,
    tracks: int = 16,
    track_seconds: float = 8.0,
    samples: int = 256,
    memory_clips: int = 20_000,
) -> None:
    """Measure how many clips a core loads, from files to batches.

    The same 16 x 160 x 160 clips of the same videos come through a DataLoader from shards, as training gets
    them, and in the plain way. Three tables: loading (clips per second of a core and of the clock, times
    those of the plain way, and how far the clips are apart), memory over many clips, and encodings.

    Args:
        out: folder for results; videos and shards stay in its folder `loader` for the next run.
        videos: folder of real face videos; without one, faces are drawn.
        workers: worker processes of half of the rows; the others read in the main process.
        batch_size: clips of a batch.
        seconds: of each measurement, at least.
        rounds: measurements of each way, in turn; medians are shown.
        tracks: different videos, at most.
        track_seconds: their length.
        samples: samples on disk; tracks are repeated under other names.
        memory_clips: clips of each encoding that one worker reads while its memory is watched; 0: none.

    Raises:
        UserError: a number that cannot be, or a folder without videos.
    """
    _check(workers, batch_size, seconds, rounds, samples, memory_clips)
    require_decord()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    cache, kind = out / "loader", "synthetic" if videos is None else "real"
    files = face_videos(cache, videos, tracks, track_seconds)
    shards = {encoding: packed(cache, files, encoding, SIZE) for encoding in ENCODINGS}
    epoch = max(SHORTEST_EPOCH, memory_clips + LOOKS * batch_size)
    long = {encoding: lengthened(folder, samples, epoch) for encoding, folder in shards.items()}
    settings = {"samples": samples, "batch_size": batch_size, "seconds": seconds, "rounds": rounds}

    def publish(name: str, title: str, rows: list[Row], columns: Mapping[str, str], of: list[Path]) -> None:
        source = describe_videos(kind, of, track_seconds)
        Result(name, f"{title}; source: {source}", settings | {"source": source}, rows).publish(out, columns)

    differences = {encoding: clip_difference(folder, files) for encoding, folder in shards.items()}
    rates = rate_rows(loading_rates(files, long, workers, batch_size, seconds, rounds), differences)
    publish("loader", "Clips per second, from files to batches", rates, RATE_COLUMNS, files)
    memory = _memory(long, batch_size, memory_clips)
    title = "MiB of a worker and the main process; slopes per 1,000 clips"
    if memory:
        publish("loader_memory", title, memory, MEMORY_COLUMNS, files)
    encoded = files[:ENCODED]
    table = encoding_rows(encoded, seconds / 4, rounds)
    title = "Stored tracks, and clips per second of a core that only decodes"
    publish("loader_encodings", title, table, ENCODING_COLUMNS, encoded)
    draw_loader(out / "loader.png", f"Loading {kind} faces from files to batches", rates, memory)


def _check(
    workers: int, batch_size: int, seconds: float, rounds: int, samples: int, memory_clips: int
) -> None:
    least = {"workers": (workers, 1), "samples": (samples, 1), "rounds": (rounds, 1)}
    least |= {"memory_clips": (memory_clips, 0)}
    for name, (value, bound) in least.items():
        if value < bound:
            raise UserError(name, f"{value} must be {bound} or more")
    if seconds <= 0:
        raise UserError("seconds", f"{seconds} must be positive")
    if batch_size < 1 or batch_size % max(CLIPS_PER_SAMPLE):
        raise UserError("batch_size", f"{batch_size} must be a multiple of {max(CLIPS_PER_SAMPLE)}")


def _memory(shards: Mapping[str, Path], batch_size: int, clips: int) -> list[Row]:
    """Rows per encoding and process; none where memory is not to be watched, or cannot be."""
    if not clips:
        return []
    if not can_measure():
        print("\nMemory is not watched: this system does not tell that of a process (Linux does).\n")
        return []
    every, rows = max(1, clips // LOOKS), []
    for encoding, folder in shards.items():
        # forked from this process, a worker would inherit what it has freed, and hide a leak in there
        batches = our_batches(folder, batch_size, 1, workers=1, start_method="forkserver")
        rows += memory_rows(encoding, batches, clips, every)
    return rows
