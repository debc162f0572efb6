"""Synthetic faces as files: videos with a label list for `maedfer pack`, or finished shards.

Both take one `SyntheticFaces` as the pattern of all clips and the number of clips of every split. The bytes
do not depend on the number of workers. Subjects and records say that they are synthetic.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
from tqdm import tqdm

from maedfer.data.shards.encoding import Encoding, describe_encoding, encode_track
from maedfer.data.shards.format import (
    INDEX_NAME,
    ShardIndex,
    read_index,
    shard_name,
    write_index,
    write_shard,
)
from maedfer.data.shards.origin import describe_geometry, made_by
from maedfer.data.shards.records import TrackRecord, sample_key, shard_sample
from maedfer.data.synthetic.clips import SyntheticFaces
from maedfer.data.synthetic.difficulty import resolve_difficulty
from maedfer.data.synthetic.expressions import CLASSES
from maedfer.errors import UserError
from maedfer.files import make_folder, write_atomically
from maedfer.processes.cores import usable_cores

LIST_NAME = "list.csv"
LIST_COLUMNS = ("path", "label", "subject", "split", "synthetic")

Job = tuple[SyntheticFaces, int]
T = TypeVar("T")


def write_videos(
    out: str | Path, faces: SyntheticFaces, counts: Mapping[str, int], workers: int | None = None
) -> Path:
    """Writes clips as H.264 files and a list of them, the input of `maedfer pack`.

    Args:
        out: A folder without a list.
        faces: Size, length, rate, difficulty and seed of the clips; its split is replaced.
        counts: Number of clips of every split, e.g. `{"train": 140, "test": 70}`.
        workers: Processes; None takes one per core (fewer for few clips), 1 stays in this process.

    Returns:
        Path of `list.csv`: columns path (relative to it), label (name), subject, split,
            synthetic (`true`).

    Raises:
        UserError: the folder already has a list, or a number is out of range.
    """
    folder = _fresh_folder(out, LIST_NAME)
    jobs = _jobs(faces, counts)
    for split in counts:
        (folder / split).mkdir(exist_ok=True)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(LIST_COLUMNS)
    with _results(partial(_write_video, folder), jobs, workers, "videos") as written:
        rows.writerows(written)
    write_atomically(folder / LIST_NAME, table.getvalue().encode())
    return folder / LIST_NAME


def write_shards(
    out: str | Path,
    faces: SyntheticFaces,
    counts: Mapping[str, int],
    *,
    encoding: Encoding = "jpeg",
    quality: int | None = None,
    labelled: bool = True,
    samples_per_shard: int = 512,
    workers: int | None = None,
) -> ShardIndex:
    """Writes clips directly into a shard folder, without videos in between.

    Args:
        out: A folder without an index.
        faces: Size, length, rate, difficulty and seed of the clips; its split is replaced.
        counts: Number of clips of every split.
        encoding: Format of the stored frames.
        quality: JPEG quality or H.264 rate factor; None takes the encoding's default.
        labelled: Write the expression into the records.
        samples_per_shard: Clips per tar.
        workers: Processes; None takes one per core (fewer for few clips), 1 stays in this process.

    Raises:
        UserError: the folder already has an index, or a number is out of range.
    """
    folder = _fresh_folder(out, INDEX_NAME)
    if samples_per_shard < 1:
        raise UserError("samples_per_shard", f"{samples_per_shard} must be at least 1")
    jobs, described = _jobs(faces, counts), describe_encoding(encoding, quality, faces.fps)
    draw = partial(_draw_sample, encoding=encoding, quality=quality, labelled=labelled)
    with _results(draw, jobs, workers, "shards") as samples:
        shards = [
            write_shard(
                folder / shard_name(split, first // samples_per_shard),
                islice(samples, min(samples_per_shard, count - first)),
            )
            for split, count in counts.items()
            for first in range(0, count, samples_per_shard)
        ]
    settings = asdict(replace(faces, difficulty=resolve_difficulty(faces.difficulty)))
    del settings["split"]
    index = ShardIndex(
        shards=tuple(shards),
        classes=CLASSES if labelled else (),
        geometry=describe_geometry("none", faces.size, 0.0, rotated=False),
        encoding=described,
        made_by=made_by("maedfer.data.synthetic", {"synthetic": True, **settings}),
    )
    write_index(folder, index)
    return read_index(folder)


def _write_video(folder: Path, job: Job) -> tuple[str, ...]:
    """Draws a clip, writes it as mp4 and returns its row of the list."""
    faces, index = job
    clip = faces.clip(index)
    path = f"{faces.split}/{index:06d}.mp4"
    write_atomically(folder / path, encode_track(clip.frames, "h264", clip.fps).data)
    return path, clip.label_name, clip.subject, faces.split, "true"


def _draw_sample(job: Job, encoding: Encoding, quality: int | None, labelled: bool) -> dict[str, bytes]:
    """Draws a clip and encodes it as a shard sample."""
    faces, index = job
    clip = faces.clip(index)
    encoded = encode_track(clip.frames, encoding, clip.fps, quality)
    source = f"synthetic/{faces.split}_{index:06d}"
    record = TrackRecord(
        key=sample_key(source, 0, repr(faces)),
        frames=len(clip.frames),
        fps=clip.fps,
        width=faces.size,
        height=faces.size,
        encoding=encoding,
        source=source,
        start_s=0.0,
        end_s=(len(clip.frames) - 1) / clip.fps,
        label=clip.label if labelled else None,
        label_name=clip.label_name if labelled else None,
        subject=clip.subject,
        metadata={"synthetic": True},
    )
    return shard_sample(record, encoded)


def _jobs(faces: SyntheticFaces, counts: Mapping[str, int]) -> list[Job]:
    """Returns all clips to draw, in the order in which they are written."""
    for split, count in counts.items():
        shard_name(split, 0)  # raises for a split name that no reader would find
        if count < 1:
            raise UserError("counts", f"{count} clips for split {split!r}: ask for at least 1")
    return [(replace(faces, split=split), index) for split, count in counts.items() for index in range(count)]


def _fresh_folder(out: str | Path, marker: str) -> Path:
    """Makes a folder; raises a UserError if it was written before."""
    folder = Path(out)
    if (folder / marker).exists():
        raise UserError("out", f"{folder} already has {marker}: take another folder or remove this one")
    return make_folder(folder)


@contextmanager
def _results(
    work: Callable[[Job], T], jobs: list[Job], workers: int | None, unit: str
) -> Iterator[Iterator[T]]:
    """Provides the results of `work` in the order of the jobs, from several processes."""
    count = min(usable_cores(), 1 + len(jobs) // 64) if workers is None else workers
    if count < 1:
        raise UserError("workers", f"{workers} must be at least 1")
    bar = partial(tqdm, total=len(jobs), desc=f"synthetic {unit}", unit="clip", disable=None)
    if count == 1:
        yield iter(bar(map(work, jobs)))
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(count, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield iter(bar(pool.imap(work, jobs, chunksize=8)))
