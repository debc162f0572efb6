"""The plan of a pack run: which sources with which settings, and whether a folder was begun with the same."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.detectors import make_detector
from maedfer.data.pack.inputs import Given
from maedfer.data.pack.report import PackSummary, count_statuses, read_report
from maedfer.data.pack.settings import StoreSettings
from maedfer.data.pack.sources import parse_part, split_of, take_part
from maedfer.data.pack.spool import Spool
from maedfer.data.shards.format import INDEX_NAME, SHEET_NAME, read_index, shard_name
from maedfer.data.video.image_folder import frame_names
from maedfer.data.video.source import Source
from maedfer.files import dump_json

ADDED_SETTINGS = {"one_track": False, "min_frames": NUM_FRAMES, "squeeze": False}
"""Settings that folders of earlier versions do not name, and what they were."""


@dataclass(frozen=True)
class PackPlan:
    """A run: the settings that decide its bytes, its sources with their splits, and the classes of all
    parts; `given` is what it is a part of."""

    crop: CropSettings
    store: StoreSettings
    settings: dict[str, Any]
    sources: list[Source]
    splits: list[str]
    classes: tuple[str, ...]
    given: Given

    def opening(self) -> tuple[str, ...]:
        """What to say of a corpus before it is packed: how, what is left out, and how the rest compares with
        the published sizes."""
        remarks = self.given.remarks(self.sources, self.splits, [True] * len(self.sources))
        return (*self.given.opening(self.crop), *remarks)

    def remarks(self, report: list[dict[str, Any]]) -> tuple[str, ...]:
        """What to say of a corpus when it is packed, of which `report` has a line for each source."""
        return self.given.remarks(self.sources, self.splits, [bool(row["tracks"]) for row in report])

    def rows(self) -> list[list[Any]]:
        """What is noted of each source: title, split, label, and the size of the file."""
        return [
            [source.title, split, source.label, _size(source.path)]
            for source, split in zip(self.sources, self.splits, strict=True)
        ]


def check_settings(crop: CropSettings, store: StoreSettings, positive: dict[str, float]) -> None:
    """Refuse settings that cannot be; `positive` are further numbers by their flags.

    Raises:
        ValueError: names the flag.
        FileNotFoundError: the detector's model does not exist.
    """
    positive |= {"size": crop.size, "fps": crop.fps, "max-seconds": crop.max_seconds}
    positive |= {"min-frames": crop.min_frames}
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"--{name} {value} must be more than 0")
    if crop.fps < 1 / FRAME_INTERVAL_S:
        raise ValueError(
            f"--fps {crop.fps} is less than {1 / FRAME_INTERVAL_S:g}: "
            f"a clip needs {NUM_FRAMES} frames {FRAME_INTERVAL_S} s apart"
        )
    if store.encoding == "h264" and crop.size % 2:
        raise ValueError(f"--size {crop.size} must be even for --encoding h264")
    if crop.margin < 0 or crop.min_face < 0:
        raise ValueError(f"--margin {crop.margin} and --min-face {crop.min_face} must not be negative")
    make_detector(crop.detector, crop.detector_model, crop.frame_crop, crop.squeeze)


def make_plan(
    given: Given, crop: CropSettings, store: StoreSettings, rest: dict[str, Any], part: str | None
) -> PackPlan:
    """Decide all that must not depend on which of the sources a part packs."""
    if not 0 <= rest["val_share"] <= 1:
        raise ValueError(f"--val-share {rest['val_share']} must lie between 0 and 1")
    mine = take_part(given.sources, part)
    if not mine:
        raise ValueError(f"--part {part} of {len(given.sources)} sources is empty: use fewer parts")
    splits = [split_of(source, rest["split"], rest["val_share"]) for source in mine]
    for name in {*splits, rest["split"]}:
        shard_name(name, 0)
    number, count = parse_part(part)
    model = crop.detector_model and hashlib.sha256(Path(crop.detector_model).read_bytes()).hexdigest()
    settings = asdict(crop) | asdict(store) | rest | {"detector_model": model, "part": f"{number}/{count}"}
    settings["frame_crop"] = crop.frame_crop and list(crop.frame_crop)  # as JSON has it
    settings["corpus"] = given.corpus and given.corpus.name
    return PackPlan(crop, store, settings, mine, splits, given.classes, given)


def _size(path: str) -> int | None:
    """Bytes of a file, frames of a folder, None for what is missing: part of what makes two runs the same."""
    try:
        if os.path.isdir(path):
            return len(frame_names(path))
        return os.stat(path).st_size
    except OSError:
        return None


def digest(plan: PackPlan) -> dict[str, Any]:
    """The sources of a plan in short, for the index."""
    return {"count": len(plan.sources), "sha256": hashlib.sha256(dump_json(plan.rows())).hexdigest()}


def finished_before(folder: Path, plan: PackPlan) -> PackSummary | None:
    """The summary of a folder that this very run has finished before, None for one without an index.

    Raises:
        ValueError: it was finished with other settings or sources.
    """
    if not (folder / INDEX_NAME).is_file():
        return None
    index = read_index(folder)
    _same_settings(folder, index.made_by.get("settings", {}), plan.settings)
    if index.made_by.get("sources") != digest(plan):
        titles = [row["source"] for row in read_report(folder)]
        raise ValueError(_other_sources(folder, titles, [source.title for source in plan.sources]))
    Spool(folder).remove()
    report = read_report(folder)
    counts = sum(e.samples for e in index.shards), len(index.shards), count_statuses(report)
    return PackSummary(str(folder), *counts, True, plan.remarks(report))


def begin(folder: Path, plan: PackPlan) -> Spool:
    """Open the folder: a new one, or one in which this very run was interrupted.

    Raises:
        ValueError: something else is in the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file: name a folder")
    spool = Spool(folder)
    before = spool.plan()
    if before is None:
        ours = (spool.folder.name, SHEET_NAME)
        if folder.is_dir() and any(path.name not in ours for path in folder.iterdir()):
            raise ValueError(
                f"--out {folder} is not empty, and not a folder that `maedfer pack` began: name another"
            )
        spool.begin({"settings": plan.settings, "sources": plan.rows()})
        return spool
    _same_settings(folder, before["settings"], plan.settings)
    rows = plan.rows()
    if before["sources"] != rows:
        raise ValueError(
            _other_sources(folder, [row[0] for row in before["sources"]], [row[0] for row in rows])
        )
    return spool


def _same_settings(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    before = ADDED_SETTINGS | before
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            flag = name.replace("_", "-")
            raise ValueError(
                f"--out {folder} was begun with --{flag} {before.get(name)}, not {now.get(name)}: "
                "use the same settings, or another folder"
            )


def _other_sources(folder: Path, before: list[str], now: list[str]) -> str:
    """Name a source that makes the difference."""
    new, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    texts = [f"{len(new)} new, such as {new[0]}"] if new else []
    texts += [f"{len(gone)} missing, such as {gone[0]}"] if gone else []
    what = "; ".join(texts) or "the same names with other files, labels, splits or order"
    return f"--out {folder} was begun with other sources ({what}): use another folder"
