"""`maedfer pack`: videos of any kind in, shards of face tracks out.

The sources are planned first; a pool of processes packs them one by one (`pack_source`); shards are filled in
the order of the plan (`pack_spool`), then `report.jsonl` and last `index.json` are written, so a folder with
an index is complete. Running the same command again continues an unfinished folder and leaves a finished one
as it is; the bytes depend on nothing but sources and settings.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from maedfer.data.cores import usable_cores
from maedfer.data.encoding import Encoding, check_quality
from maedfer.data.faces.detectors import DetectorName
from maedfer.data.pack_plan import PackPlan, begin, check_settings, digest, finished_before, make_plan
from maedfer.data.pack_pool import WorkerFailed, run_jobs
from maedfer.data.pack_report import REPORT_NAME, PackSummary, count_statuses, write_report
from maedfer.data.pack_source import CropSettings, Job, SourceResult
from maedfer.data.pack_spool import ShardFiller, Spool
from maedfer.data.records import STORED_FPS, describe_encoding, describe_geometry, made_by
from maedfer.data.shards import ShardEntry, ShardIndex, write_index
from maedfer.data.sources import parse_part

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def pack(
    sources: list[str],
    out: str,
    detector: DetectorName = "haar",
    detector_model: str | None = None,
    size: int = 160,
    encoding: Encoding = "jpeg",
    quality: int | None = None,
    fps: float = STORED_FPS,
    margin: float = 0.15,
    min_face: float = 48,
    max_seconds: float = 10.0,
    largest_face: bool = False,
    frame_crop: tuple[float, float, float, float] | None = None,
    split: str = "train",
    val_share: float = 0.0,
    part: str | None = None,
    workers: int | None = None,
    shard_size: float = 128,
    max_samples: int = 1000,
    stall_timeout: float = 60,
    source_timeout: float | None = None,
) -> PackSummary:
    """Find, follow and cut out the faces of videos, and store them as shards.

    Run again after an interruption it continues; sources that cannot be used are named in `report.jsonl`.

    Args:
        sources: Videos, folders, globs, or lists (.csv or .jsonl with the columns path, label, start, end,
            fold, subject, split; any other column is kept as metadata).
        out: Folder for the shards.
        detector: Who finds the faces; none: the videos are face crops already and are only resized.
        detector_model: The YuNet .onnx file, for --detector yunet.
        size: Side of the stored crops in pixels.
        encoding: How frames are stored: jpeg is read faster, h264 takes less space.
        quality: JPEG quality (1 to 100, default 85) or H.264 rate factor (0 to 51, less is better, default
            23).
        fps: Stored frames per second; slower sources and tracks shorter than a clip keep their own rate.
        margin: Share of the face box that is added on every side.
        min_face: Smallest face in pixels of the source.
        max_seconds: Longer tracks are split into equal pieces.
        largest_face: Keep only the largest face of a source at a time, for labels that mean one person.
        frame_crop: With --detector none, the part to store: left, top, width, height in shares of the largest
            centred square of the frame.
        split: Name of the split the sources belong to, unless their list says otherwise.
        val_share: Share (0 to 1) of the sources that goes to the split `val`, chosen by their names.
        part: Pack only share i/n of the sources, i from 1 to n, into a folder of its own; see `maedfer
            merge`.
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
    quality = check_quality(encoding, quality)
    stored = (size, margin, fps, encoding, quality, min_face, max_seconds, largest_face)
    crop = CropSettings(detector, detector_model, *stored, frame_crop and list(frame_crop))
    positive = {"shard-size": shard_size, "max-samples": max_samples, "stall-timeout": stall_timeout}
    positive |= {"workers": 1 if workers is None else workers}
    check_settings(crop, positive | {"source-timeout": 1 if source_timeout is None else source_timeout})
    rest = {"split": split, "val_share": val_share, "shard_size": shard_size, "max_samples": max_samples}
    plan = make_plan(sources, crop, rest, part)
    folder = Path(out)
    finished = finished_before(folder, plan)
    if finished is not None:
        return finished
    with _one_line(folder):
        spool = begin(folder, plan)
        filler = ShardFiller(folder, spool, int(shard_size * 1e6), max_samples)
        with spool.locked():
            results = _pack_all(plan, spool, filler, workers or usable_cores(), stall_timeout, source_timeout)
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
    return Job(source, plan.crop, label, str(spool.samples(number)))


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
    return PackSummary(str(folder), sum(entry.samples for entry in entries), len(entries), statuses)


def _index(plan: PackPlan, entries: tuple[ShardEntry, ...]) -> ShardIndex:
    crop = plan.crop
    margin = 0.0 if crop.detector == "none" else crop.margin
    drawn = any(source.metadata.get("synthetic") == "true" for source in plan.sources)
    return ShardIndex(
        entries,
        plan.classes,
        describe_geometry(crop.detector, crop.size, margin, rotated=crop.detector == "yunet"),
        describe_encoding(crop.encoding, crop.quality, crop.fps),
        made_by("maedfer pack", plan.settings) | {"sources": digest(plan), "synthetic": drawn},
    )
