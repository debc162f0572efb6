"""Packing one source: look through it, cut its faces out, encode them, and say how it went.

A source is read twice, first on reduced frames to find and follow faces, then to cut them out, so that memory
does not grow with its length. Whatever is wrong with a source ends in its report line, never in an exception.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.crops import CropPlan, cut_crops, plan_crops
from maedfer.data.faces.detectors import Detector, DetectorName, make_detector
from maedfer.data.faces.tracks import follow_faces, largest_at_a_time
from maedfer.data.pack.settings import StoreSettings
from maedfer.data.shards.encoding import encode_track
from maedfer.data.shards.format import write_shard
from maedfer.data.shards.records import TrackGeometry, TrackRecord, sample_key, shard_sample
from maedfer.data.video.image_folder import FrameFolder, folder_fingerprint
from maedfer.data.video.source import Source
from maedfer.data.video.video_file import UnreadableVideo, VideoFile

STATUSES = ("ok", "no_face", "unreadable", "too_short")
FINGERPRINT_BYTES = 65536
"""The fingerprint of a file is its size and a hash of this much of its start and of its end."""


@dataclass(frozen=True)
class Job:
    """One source to pack: what is known about it beyond `Source`, and the file its samples go to.

    `label` is the place of its label among the classes, `votes` are in the order of the classes.
    """

    source: Source
    settings: CropSettings
    store: StoreSettings
    label: int | None
    spool: str
    votes: list[float] | None = None


@dataclass
class SourceResult:
    """How a source went: `status` and `reason` for the report, and key and size of each sample in its spool
    file."""

    status: str
    reason: str = ""
    samples: list[tuple[str, int]] = field(default_factory=list)


class _Refused(Exception):
    """A source that gives no sample; the arguments are status and reason."""


def pack_source(job: Job, alive: Callable[[], object] = lambda: None) -> SourceResult:
    """Pack one source into its spool file, a shard of its own; no file is written for one without samples.

    Args:
        job: What to pack.
        alive: Called for every decoded frame, as a sign of life.

    Raises:
        OSError: the spool file cannot be written.
    """
    result = SourceResult("ok")
    spool = Path(job.spool)
    try:
        samples = _guarded(_samples(job, alive, result))
        first = next(samples)
        write_shard(spool, _counted([first], samples, result))
    except _Refused as refused:
        spool.with_name(spool.name + ".part").unlink(missing_ok=True)
        return SourceResult(*refused.args)
    return result


def _guarded(samples: Iterator[dict[str, bytes]]) -> Iterator[dict[str, bytes]]:
    """Turn what goes wrong while reading a source into a refusal, and leave errors of writing to the
    caller."""
    try:
        yield from samples
    except _Refused:
        raise
    except UnreadableVideo as error:
        raise _Refused("unreadable", str(error)) from error
    except Exception as error:  # one strange file must not end a job of a million
        raise _Refused(
            "unreadable", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error


def _counted(
    first: list[dict[str, bytes]], rest: Iterator[dict[str, bytes]], result: SourceResult
) -> Iterator[dict[str, bytes]]:
    for samples in (first, rest):
        for sample in samples:
            size = sum(len(data) for data in sample.values())
            result.samples.append((sample["__key__"].decode(), size))
            yield sample


def _samples(job: Job, alive: Callable[[], object], result: SourceResult) -> Iterator[dict[str, bytes]]:
    source, settings = job.source, job.settings
    fingerprint = _fingerprint(source.path)
    folder = os.path.isdir(source.path)
    video = FrameFolder(source.path, source.fps) if folder else VideoFile(source.path)
    start_s = source.start_s or 0.0
    end_s = math.inf if source.end_s is None else source.end_s
    part = settings.frame_crop and tuple(settings.frame_crop)
    detector = _detector(settings.detector, settings.detector_model, part, settings.squeeze)
    plans = _plan(video, detector, settings, (start_s, end_s), alive, result)
    first_s = min(plan.times[0] for plan in plans)
    frames = video.frames(max(start_s, float(first_s)), end_s, alive)
    written = 0
    for number, crops in cut_crops(frames, plans, settings.size):
        yield _sample(job, plans[number], crops, (number, fingerprint), detector.name)
        written += 1
    if written < len(plans):
        raise _Refused("unreadable", f"{len(plans) - written} tracks could not be read a second time")


def _plan(
    video: VideoFile | FrameFolder,
    detector: Detector,
    settings: CropSettings,
    span: tuple[float, float],
    alive: Callable[[], object],
    result: SourceResult,
) -> list[CropPlan]:
    """The first pass: everything that will be cut out, or a refusal."""
    found = detector.finds_faces
    tracks, times = follow_faces(video.frames(*span, alive), detector, settings.min_face if found else 0)
    tracks = largest_at_a_time(tracks) if settings.largest_face else tracks
    result.reason = _remark(video, len(times), span)
    if not len(times):
        raise _Refused("unreadable", _join(_no_frame(span), result.reason))
    if len(times) < settings.min_frames:
        text = f"{len(times)} frames, a clip needs {settings.min_frames}"
        raise _Refused("too_short", _join(text, result.reason))
    if not tracks:
        raise _Refused("no_face", _join(f"no face in {times[-1] - times[0]:.1f} s", result.reason))
    options: dict[str, Any] = {"fps": settings.fps, "max_seconds": settings.max_seconds, "found": found}
    options["min_frames"] = settings.min_frames
    margin = settings.margin if found else 0.0
    plans = [plan for track in tracks for plan in plan_crops(track, times, margin=margin, **options)]
    if not plans:
        longest = max(np.count_nonzero((times >= each.start_s) & (times <= each.end_s)) for each in tracks)
        text = f"the longest face track has {longest} frames, a clip needs {settings.min_frames}"
        raise _Refused("too_short", _join(text, result.reason))
    return [max(plans, key=_duration)] if settings.one_track else plans


def _duration(plan: CropPlan) -> float:
    return float(plan.times[-1] - plan.times[0])


def _remark(video: VideoFile | FrameFolder, frames: int, span: tuple[float, float]) -> str:
    """What the report should say of a file that was read in part."""
    remarks = [f"{video.damaged} damaged {video.pieces} left out"] if video.damaged else []
    if span == (0.0, math.inf) and frames < 0.9 * video.promised:
        remarks.append(f"{frames} frames where the container promises {video.promised}")
    return "; ".join(remarks)


def _no_frame(span: tuple[float, float]) -> str:
    """Why there is nothing to look at: the asked span may lie beyond the end of the video."""
    start_s, end_s = span
    if span == (0.0, math.inf):
        return "no frame can be decoded"
    where = f"after {start_s:g} s" if end_s == math.inf else f"between {start_s:g} and {end_s:g} s"
    return f"no frame {where}"


def _join(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def _sample(
    job: Job, plan: CropPlan, crops: np.ndarray, identity: tuple[int, str], detector: str
) -> dict[str, bytes]:
    """Encode the crops (F, size, size, 3) of a plan and write their record."""
    source, settings, store = job.source, job.settings, job.store
    number, fingerprint = identity
    encoded = encode_track(crops, store.encoding, plan.fps, store.quality)
    angles = None if plan.angles is None else plan.angles.round(2).tolist()
    margin = 0.0 if detector == "none" else settings.margin
    record = TrackRecord(
        key=sample_key(source.name, number, fingerprint, (source.start_s, source.end_s)),
        frames=len(crops),
        fps=plan.fps,
        width=settings.size,
        height=settings.size,
        encoding=store.encoding,
        source=source.name,
        start_s=plan.times[0],
        end_s=plan.times[-1],
        track=number,
        geometry=TrackGeometry(boxes=plan.boxes, rotation=angles, margin=margin, detector=detector),
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
    """A hash that tells files (or folders) of one name apart, without reading all of a long one."""
    try:
        if os.path.isdir(path):
            return folder_fingerprint(path)
        with open(path, "rb") as stream:
            start = stream.read(FINGERPRINT_BYTES)
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - FINGERPRINT_BYTES))
            return hashlib.sha256(b"%d:" % size + start + stream.read()).hexdigest()
    except OSError as error:
        raise _Refused("unreadable", f"cannot be opened: {error.strerror}") from error


@cache
def _detector(
    name: DetectorName, model: str | None, part: tuple[float, ...] | None, squeeze: bool
) -> Detector:
    """One detector per process: loading a model takes longer than a short clip."""
    return make_detector(name, model, part, squeeze)
