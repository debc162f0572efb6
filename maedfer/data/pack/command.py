"""`maedfer pack`: turns videos of any kind into shards of face tracks.

The sources are planned first; a pool of processes packs them one by one (`one_source`); shards are filled in
the order of the plan (`spool`); then `report.jsonl` and last `index.json` are written, so a folder with an
index is complete. The same command continues an unfinished folder and leaves a finished one unchanged; the
bytes depend only on sources and settings.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from maedfer.data.faces.crop_settings import DetectorName, FrameCrop
from maedfer.data.pack.inputs import find_inputs
from maedfer.data.pack.job import SourceResult, WorkerFailed
from maedfer.data.pack.plan import PackPlan, begin, finished_before, make_plan
from maedfer.data.pack.pool import run_jobs
from maedfer.data.pack.report import REPORT_NAME, PackSummary, ReportRow, count_statuses, write_report
from maedfer.data.pack.settings import PackSettings, Part, RunSettings, ShardSettings, StoreSettings
from maedfer.data.pack.spool import ShardFiller, Spool
from maedfer.data.shards.encoding import Encoding, check_quality, describe_encoding
from maedfer.data.shards.format import ShardEntry, ShardIndex, write_index
from maedfer.data.shards.origin import describe_geometry, made_by
from maedfer.errors import UserError
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
    frame_crop: FrameCrop | None = None,
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
    """Stores the faces of videos as shards; sources that cannot be used are named in `report.jsonl`.

    Args:
        sources: Videos, folders of images, folders, globs, or lists (.csv or .jsonl with the columns path,
            label, start, end, fold, subject, split, fps of images; others are kept as metadata).
        out: Folder for the shards.
        corpus: Name of the corpus in the only SOURCE; it sets defaults. A wrong name lists all corpora, and
            those whose layout is untested on real data.
        clips: With --corpus, the folder of its clips, if it is not one of the usual ones.
        allow_missing: With --corpus, continue without clips and lists that are missing.
        detector: Finds the faces (haar by default); none: videos are face crops and are only resized.
        detector_model: The YuNet .onnx file, for --detector yunet.
        size: Side of the stored crops in pixels.
        encoding: Format of stored frames: jpeg is read faster, h264 takes less space.
        quality: JPEG quality (1 to 100, default 85) or H.264 rate factor (51 to 0, default 23).
        fps: Stored frames per second (12.5 by default); slower sources and short tracks keep their own.
        margin: Share of the face box that is added on every side.
        min_face: Smallest face in pixels of the source.
        min_frames: Frames that a track must have (16 by default, those of a clip).
        max_seconds: Longer tracks are split into equal pieces (10 by default).
        largest_face: Keep only the largest face at any time, for labels of one person.
        one_track: Keep only the longest track of each source.
        frame_crop: With --detector none: left, top, width, height in shares of the frame's centred square.
        squeeze: With --detector none: squeeze frames to squares instead of cutting them (as for a corpus of
            face crops).
        split: Split of the sources, unless their list names one.
        val_share: Share (0 to 1) of the sources that goes to the split val, chosen by a hash of their names.
        part: Pack only share i/n of the sources into a folder of its own; see `maedfer merge`.
        workers: Number of processes; default: one per core.
        shard_size: Size of a shard in MB, at most.
        max_samples: Tracks in a shard, at most.
        stall_timeout: Seconds without a decoded frame after which a source is given up.
        source_timeout: Seconds that a source may take in all; default: no limit.

    Raises:
        UserError: a wrong setting, a folder of another run, no face in any source, a full disk, or workers
            that cannot start; the message says how to continue.
        FileNotFoundError: a source or the model does not exist.
        KeyboardInterrupt: stopped; the message says how to continue.
    """
    inputs = find_inputs(sources, corpus, clips, allow_missing)
    settings = PackSettings(
        crop=inputs.crop.changed(
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
        ),
        store=StoreSettings(encoding, check_quality(encoding, quality)),
        shards=ShardSettings(split, val_share, shard_size, max_samples),
        run=RunSettings(usable_cores() if workers is None else workers, stall_timeout, source_timeout),
        part=Part.parse(part),
    )
    settings.check()
    plan = make_plan(inputs, settings)
    return finished_before(Path(out), plan) or _run(Path(out), plan)


def _run(folder: Path, plan: PackPlan) -> PackSummary:
    """Packs the sources of a plan, or continues with it."""
    remarks = plan.inputs.remarks(plan.sources, plan.splits, [True] * len(plan.sources))
    for line in (*plan.inputs.opening(plan.settings.crop), *remarks):
        print(line, file=sys.stderr)
    with _advice(folder):
        spool = begin(folder, plan)
        shards = plan.settings.shards
        filler = ShardFiller(folder, spool, int(shards.shard_size * 1e6), shards.max_samples)
        with spool.locked():
            return _finish(folder, plan, filler, _pack_all(plan, spool, filler))


@contextmanager
def _advice(folder: Path) -> Iterator[None]:
    """Adds to errors that can stop a run how to continue it."""
    again = "run the same command again to continue"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {again}") from None
    except FileNotFoundError:
        raise
    except (OSError, WorkerFailed) as error:
        if error.errno in _DISK_FULL:
            text = f"cannot write to {folder}: {os.strerror(error.errno)}. Free some space, then {again}"
            raise UserError("out", text) from error
        if isinstance(error, WorkerFailed):
            raise UserError(None, f"packing into {folder} stopped: {error}; {again}") from error
        raise UserError("out", f"cannot write to {folder}: {error}") from error


def _pack_all(plan: PackPlan, spool: Spool, filler: ShardFiller) -> list[SourceResult]:
    """Packs the sources that are not done yet, and fills shards in the order of the sources.

    Returns:
        The results of all sources.
    """
    loaded = {number: spool.load(number) for number in range(len(plan.sources))}
    done = {number: result for number, result in loaded.items() if result is not None}
    jobs = [(number, plan.job(number, spool)) for number in loaded if number not in done]
    results: list[SourceResult] = []

    def fill() -> None:
        while (number := len(results)) in done:
            results.append(done.pop(number))
            filler.add(number, plan.splits[number], results[-1])

    run = plan.settings.run
    outcomes = run_jobs(jobs, run.workers, stall_timeout=run.stall_timeout, source_timeout=run.source_timeout)
    bar = tqdm(total=len(plan.sources), initial=len(done), unit="video", desc="pack", dynamic_ncols=True)
    with bar, closing(outcomes):
        fill()
        for number, result in outcomes:
            spool.save(number, result)
            done[number] = result
            fill()
            bar.update()
    return results


def _finish(folder: Path, plan: PackPlan, filler: ShardFiller, results: list[SourceResult]) -> PackSummary:
    """Writes the report and the index; the index of a part may have no shards.

    Raises:
        UserError: no source has a sample, and these are all sources.
    """
    entries = filler.finish()
    report = [
        ReportRow(source.title, result.status, result.reason, len(result.samples))
        for source, result in zip(plan.sources, results, strict=True)
    ]
    write_report(folder, report)
    if not entries and plan.settings.part.count == 1:
        bad = next(row for row in report if row.status != "ok")
        counts = ", ".join(f"{count} {name}" for name, count in count_statuses(report).items())
        raise UserError(
            None,
            f"no face track in any of the {len(report)} sources ({counts}), such as {bad.source}: "
            f"{bad.reason}; see {folder / REPORT_NAME}",
        )
    write_index(folder, _index(plan, tuple(entries)))
    filler.spool.remove()
    return plan.summary(folder, entries)


def _index(plan: PackPlan, entries: tuple[ShardEntry, ...]) -> ShardIndex:
    crop, store = plan.settings.crop, plan.settings.store
    drawn = any(source.metadata.get("synthetic") in ("true", True) for source in plan.sources)
    return ShardIndex(
        shards=entries,
        classes=plan.inputs.classes,
        geometry=describe_geometry(
            detector=crop.detector,
            size=crop.size,
            margin=crop.margin if crop.finds_faces else 0.0,
            rotated=crop.detector == "yunet",
            squeezed=crop.squeeze,
        ),
        encoding=describe_encoding(store.encoding, store.quality, crop.fps),
        made_by=made_by("maedfer pack", plan.recorded) | {"sources": plan.digest(), "synthetic": drawn},
    )
