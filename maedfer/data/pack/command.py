"""`maedfer pack`: videos of any kind in, shards of face tracks out.

The sources are planned first; a pool of processes packs them one by one (`pack_source`); shards are filled in
the order of the plan (`pack_spool`), then `report.jsonl` and last `index.json` are written, so a folder with
an index is complete. Running the same command again continues an unfinished folder and leaves a finished one
as it is; the bytes depend on nothing but sources and settings.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from maedfer.data.faces.detectors import DetectorName
from maedfer.data.pack.inputs import find_given
from maedfer.data.pack.one_source import Job, SourceResult
from maedfer.data.pack.plan import PackPlan, begin, check_settings, digest, finished_before, make_plan
from maedfer.data.pack.pool import WorkerFailed, run_jobs
from maedfer.data.pack.report import REPORT_NAME, PackSummary, count_statuses, write_report
from maedfer.data.pack.settings import StoreSettings
from maedfer.data.pack.sources import parse_part
from maedfer.data.pack.spool import ShardFiller, Spool
from maedfer.data.shards.encoding import Encoding, check_quality, describe_encoding
from maedfer.data.shards.format import ShardEntry, ShardIndex, write_index
from maedfer.data.shards.origin import describe_geometry, made_by
from maedfer.processes.cores import usable_cores

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def pack(
    sources: list[str],
    out: str,
    corpus: str | None = None,
    clips: str | None = None,
    allow_missing: bool = False,
    detector: DetectorName | None = None,
    detector_model: str | None = None,
    size: int = 160,
    encoding: Encoding = "jpeg",
    quality: int | None = None,
    fps: float | None = None,
    margin: float = 0.15,
    min_face: float = 48,
    min_frames: int | None = None,
    max_seconds: float | None = None,
    largest_face: bool | None = None,
    one_track: bool | None = None,
    frame_crop: tuple[float, float, float, float] | None = None,
    squeeze: bool | None = None,
    split: str = "train",
    val_share: float = 0.0,
    part: str | None = None,
    workers: int | None = None,
    shard_size: float = 128,
    max_samples: int = 1000,
    stall_timeout: float = 60,
    source_timeout: float | None = None,
) -> PackSummary:
    """Store the faces of videos as shards; sources that cannot be used are named in `report.jsonl`.

    Args:
        sources: Videos, folders of images, folders, globs, or lists (.csv or .jsonl with the columns path,
            label, start, end, fold, subject, split, fps of images; others are kept as metadata).
        out: Folder for the shards.
        corpus: The one SOURCE is the folder of this corpus (any wrong name lists them); it sets defaults.
        clips: With --corpus, the folder of its clips, where it is not a usual one.
        allow_missing: With --corpus, go on without clips and lists that are missing.
        detector: Who finds the faces (haar by default); none: they are face crops and are only resized.
        detector_model: The YuNet .onnx file, for --detector yunet.
        size: Side of the stored crops in pixels.
        encoding: How frames are stored: jpeg is read faster, h264 takes less space.
        quality: JPEG quality (1 to 100, default 85) or H.264 rate factor (51 to 0, default 23).
        fps: Stored frames per second (12.5 by default); slower sources and short tracks keep their own.
        margin: Share of the face box that is added on every side.
        min_face: Smallest face in pixels of the source.
        min_frames: Frames that a track must have (16 by default, those of a clip).
        max_seconds: Longer tracks are split into equal pieces (10 by default).
        largest_face: Keep only the largest face of a source at a time, for labels that mean one person.
        one_track: Keep only the longest track of a source: one sample for each clip.
        frame_crop: With --detector none: left, top, width, height in shares of the frame's centred square.
        squeeze: With --detector none: squeeze frames to squares (as a corpus of face crops does), not cut.
        split: Name of the split the sources belong to, unless their list says otherwise.
        val_share: Share (0 to 1) of the sources that goes to the split `val`, chosen by their names.
        part: Pack only share i/n of the sources into a folder of its own; see `maedfer merge`.
        workers: Processes; default: one per core.
        shard_size: Size of a shard in MB, at most.
        max_samples: Tracks in a shard, at most.
        stall_timeout: Seconds without a decoded frame after which a source is given up.
        source_timeout: Seconds a source may take in all; default: as long as it moves on.

    Raises:
        ValueError: a setting that cannot be, a folder of another run, or not a single face in all sources.
        FileNotFoundError: a source or the model does not exist.
        OSError: the disk is full, or workers cannot work; the message says how to go on.
        KeyboardInterrupt: stopped; the message says how to go on.
    """
    given = find_given(sources, corpus, clips, allow_missing)
    crop = given.crop.changed(
        detector=detector,
        detector_model=detector_model,
        size=size,
        margin=margin,
        fps=fps,
        min_face=min_face,
        min_frames=min_frames,
        max_seconds=max_seconds,
        largest_face=largest_face,
        one_track=one_track,
        frame_crop=frame_crop,
        squeeze=squeeze,
    )
    store = StoreSettings(encoding, check_quality(encoding, quality))
    positive = {"shard-size": shard_size, "max-samples": max_samples, "stall-timeout": stall_timeout}
    positive |= {"workers": workers, "source-timeout": source_timeout}
    check_settings(crop, store, {name: value for name, value in positive.items() if value is not None})
    rest = {"split": split, "val_share": val_share, "shard_size": shard_size, "max_samples": max_samples}
    plan = make_plan(given, crop, store, rest, part)
    finished = finished_before(Path(out), plan)
    return finished or _run(Path(out), plan, workers or usable_cores(), stall_timeout, source_timeout)


def _run(
    folder: Path, plan: PackPlan, workers: int, stall_timeout: float, source_timeout: float | None
) -> PackSummary:
    """Pack the sources of a plan, or go on with it."""
    for line in plan.opening():
        print(line, file=sys.stderr)
    with _one_line(folder):
        spool = begin(folder, plan)
        max_bytes = int(plan.settings["shard_size"] * 1e6)
        filler = ShardFiller(folder, spool, max_bytes, plan.settings["max_samples"])
        with spool.locked():
            results = _pack_all(plan, spool, filler, workers, stall_timeout, source_timeout)
            return _finish(folder, plan, filler, results)


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Say in one line how to go on after what can stop a run."""
    again = "run the same command again to continue"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {again}") from None
    except (OSError, WorkerFailed) as error:
        if error.errno in _DISK_FULL:
            text = f"cannot write to {folder}: {os.strerror(error.errno)}. Free some space, then {again}"
            raise OSError(error.errno, text) from error
        if isinstance(error, WorkerFailed):
            raise OSError(f"packing into {folder} stopped: {error}; {again}") from error
        raise


def _pack_all(
    plan: PackPlan,
    spool: Spool,
    filler: ShardFiller,
    workers: int,
    stall_timeout: float,
    source_timeout: float | None,
) -> list[SourceResult]:
    """Pack what is not done yet, and fill shards as far as the sources are done without a gap."""
    known = {number: spool.load(number) for number in range(len(plan.sources))}
    done = {number: result for number, result in known.items() if result is not None}
    jobs = [(number, asdict(_job(plan, spool, number))) for number in known if number not in done]
    results: list[SourceResult] = []
    outcomes = run_jobs(jobs, workers, stall_timeout=stall_timeout, source_timeout=source_timeout)
    bar = tqdm(total=len(plan.sources), initial=len(done), unit="video", desc="pack", dynamic_ncols=True)
    with bar, closing(outcomes):
        _fill(plan, filler, done, results)
        for number, message in outcomes:
            done[number] = SourceResult(**message)
            spool.save(number, done[number])
            _fill(plan, filler, done, results)
            bar.update()
    return results


def _job(plan: PackPlan, spool: Spool, number: int) -> Job:
    source = plan.sources[number]
    label = None if source.label is None else plan.classes.index(source.label)
    votes = source.votes and [source.votes.get(name, 0) for name in plan.classes]
    return Job(source, plan.crop, plan.store, label, str(spool.samples(number)), votes)


def _fill(
    plan: PackPlan, filler: ShardFiller, done: dict[int, SourceResult], results: list[SourceResult]
) -> None:
    while (number := len(results)) in done:
        results.append(done.pop(number))
        filler.add(number, plan.splits[number], results[-1])


def _finish(folder: Path, plan: PackPlan, filler: ShardFiller, results: list[SourceResult]) -> PackSummary:
    """Write the report and the index, which has no shards for a part of which nothing could be packed.

    Raises:
        ValueError: no source gave a sample, and these are all sources.
    """
    entries = filler.finish()
    report = [
        {"source": source.title, "status": each.status, "reason": each.reason, "tracks": len(each.samples)}
        for source, each in zip(plan.sources, results, strict=True)
    ]
    write_report(folder, report)
    statuses = count_statuses(report)
    if not entries and parse_part(plan.settings["part"])[1] == 1:
        bad = next(row for row in report if row["status"] != "ok")
        counts = ", ".join(f"{count} {name}" for name, count in statuses.items())
        raise ValueError(
            f"no face track in any of the {len(report)} sources ({counts}), such as {bad['source']}: "
            f"{bad['reason']}; see {folder / REPORT_NAME}"
        )
    write_index(folder, _index(plan, tuple(entries)))
    filler.spool.remove()
    counts = sum(entry.samples for entry in entries), len(entries), statuses
    return PackSummary(str(folder), *counts, remarks=plan.remarks(report))


def _index(plan: PackPlan, entries: tuple[ShardEntry, ...]) -> ShardIndex:
    crop = plan.crop
    margin = 0.0 if crop.detector == "none" else crop.margin
    rotated = crop.detector == "yunet"
    drawn = any(source.metadata.get("synthetic") in ("true", True) for source in plan.sources)
    return ShardIndex(
        entries,
        plan.classes,
        describe_geometry(crop.detector, crop.size, margin, rotated, crop.squeeze),
        describe_encoding(plan.store.encoding, plan.store.quality, crop.fps),
        made_by("maedfer pack", plan.settings) | {"sources": digest(plan), "synthetic": drawn},
    )
