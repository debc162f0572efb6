"""Packs one source: cuts its faces out, encodes them, and reports the outcome.

Whatever is wrong with a source ends in its line of the report, never in an exception.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from maedfer.data.faces.face_tracks import FaceClip, NoFaceClip, read_face_tracks
from maedfer.data.pack.job import Job, SourceResult
from maedfer.data.shards.encoding import encode_track
from maedfer.data.shards.format import write_shard
from maedfer.data.shards.records import TrackGeometry, TrackRecord, sample_key, shard_sample
from maedfer.data.video.image_folder import folder_fingerprint
from maedfer.data.video.open_video import open_video

FINGERPRINT_BYTES = 65536
"""The fingerprint of a file is its size and a hash of this many bytes of its start and of its end."""


def pack_source(job: Job, alive: Callable[[], object] = lambda: None) -> SourceResult:
    """Packs one source into its spool file, which is a shard; without a sample there is no file.

    Args:
        job: The source and how to pack it.
        alive: Called for every decoded frame, as a sign of life.

    Raises:
        OSError: the spool file cannot be written.
    """
    result = SourceResult("ok")
    spool = Path(job.spool)
    try:
        samples = _samples(job, alive, result)
        write_shard(spool, chain([next(samples)], samples))
    except NoFaceClip as failure:
        spool.with_name(spool.name + ".part").unlink(missing_ok=True)
        return SourceResult(failure.status, failure.reason)
    return result


def _samples(job: Job, alive: Callable[[], object], result: SourceResult) -> Iterator[dict[str, bytes]]:
    """Yields the samples of a source and notes them in its result.

    Raises:
        NoFaceClip: for any error of reading, but none of writing, which is up to the caller.
    """
    source = job.source
    span = (source.start_s or 0.0, math.inf if source.end_s is None else source.end_s)
    try:
        fingerprint = _fingerprint(source.path)
        for clip in read_face_tracks(open_video(source.path, source.fps), job.crop, span, alive):
            result.reason = clip.remark
            sample = _sample(job, clip, fingerprint)
            size = sum(len(data) for data in sample.values())
            result.samples.append((sample["__key__"].decode(), size))
            yield sample
    except NoFaceClip:
        raise
    except Exception as error:  # one strange file must not end a job of a million
        text = " ".join(str(error).split())[:200]
        raise NoFaceClip("unreadable", f"{type(error).__name__}: {text}") from error


def _sample(job: Job, clip: FaceClip, fingerprint: str) -> dict[str, bytes]:
    """Encodes the frames of a clip and builds their record."""
    source, crop, store, plan = job.source, job.crop, job.store, clip.plan
    encoded = encode_track(clip.frames, store.encoding, plan.fps, store.quality)
    angles = None if plan.angles is None else plan.angles.round(2).tolist()
    margin = crop.margin if crop.finds_faces else 0.0
    record = TrackRecord(
        key=sample_key(source.name, clip.number, fingerprint, (source.start_s, source.end_s)),
        frames=len(clip.frames),
        fps=plan.fps,
        width=crop.size,
        height=crop.size,
        encoding=store.encoding,
        source=source.name,
        start_s=plan.times[0],
        end_s=plan.times[-1],
        track=clip.number,
        geometry=TrackGeometry(boxes=plan.boxes, rotation=angles, margin=margin, detector=crop.detector),
        face_ok=plan.face_ok,
        label=job.label,
        label_name=source.label,
        votes=job.votes,
        fold=source.fold,
        subject=source.subject,
        metadata=dict(source.metadata),
    )
    return shard_sample(record, encoded)


def _fingerprint(path: str) -> str:
    """Hashes parts of a file (or folder), to distinguish those of one name without reading all of it."""
    try:
        if os.path.isdir(path):
            return folder_fingerprint(path)
        with open(path, "rb") as stream:
            start = stream.read(FINGERPRINT_BYTES)
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - FINGERPRINT_BYTES))
            return hashlib.sha256(b"%d:" % size + start + stream.read()).hexdigest()
    except OSError as error:
        raise NoFaceClip("unreadable", f"cannot be opened: {error.strerror}") from error
