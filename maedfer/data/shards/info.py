"""Runs `maedfer info`: describes a shard folder by counts and a picture of its tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from maedfer.data.shards.encoding import EXTENSIONS, decode_frames
from maedfer.data.shards.format import INDEX_NAME, SHEET_NAME, ShardEntry, read_index, read_shard
from maedfer.data.shards.origin import is_synthetic
from maedfer.data.shards.records import BrokenSample, TrackRecord
from maedfer.errors import UserError

CELL, CAPTION = 96, 16
"""Pixels of a frame in the contact sheet, and of the line of text above each row."""


@dataclass
class FolderInfo:
    """Counts of a shard folder; `durations` are the seconds of each track, labels go by name.

    `classes` are the names in the order of the labels, `synthetic` is True if drawn faces are among them,
    `sheet` is the path of the contact sheet, if it was drawn.
    """

    folder: str
    classes: Sequence[str] = ()
    frames: int = 0
    short: int = 0
    bytes: int = 0
    durations: list[float] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    folds: Counter[str] = field(default_factory=Counter)
    subjects: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    encoding: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    sheet: str | None = None

    @property
    def samples(self) -> int:
        """The number of tracks."""
        return len(self.durations)

    def __str__(self) -> str:
        quarter = np.percentile(self.durations or [0.0], [0, 50, 100])
        lines = [
            f"{self.folder}: {self.samples} tracks of {len(self.sources)} sources, {self.frames} frames, "
            f"{sum(self.durations) / 60:.1f} minutes, {self.bytes / 1e6:.1f} MB",
            "durations: {:.1f} s shortest, {:.1f} s median, {:.1f} s longest".format(*quarter)
            + f"; {self.short} shorter than a clip",
            f"encoding: {_pairs(self.encoding)}",
            f"geometry: {_pairs(self.geometry)}",
            f"splits: {_pairs(self.splits)}",
        ]
        labels = ", ".join(f"{name} {self.labels[name]}" for name in self.classes)
        lines += [f"labels in order: {labels}"] if self.labels else []
        lines += [f"folds: {_pairs(self.folds)}"] if self.folds else []
        lines += [f"subjects: {len(self.subjects)}"] if self.subjects else []
        lines += ["synthetic faces: drawn, nobody is in these pictures"] if self.synthetic else []
        lines += [f"contact sheet: {self.sheet or 'cannot be written into the folder, see --sheet'}"]
        return "\n".join(lines)


def info(folder: str, sheet: str | None = None, rows: int = 24, columns: int = 10) -> FolderInfo:
    """Counts the content of a shard folder, and draws a contact sheet of its tracks.

    Args:
        folder: A shard folder.
        sheet: PNG file to draw; default: contact_sheet.png in the folder. A row is a track, its columns are
            frames from first to last.
        rows: Tracks in the sheet, spread evenly over the folder.
        columns: Frames of each track.

    Raises:
        FileNotFoundError: there is no index, or a shard is missing.
        UserError: the index or a shard cannot be read, or `sheet` is not a PNG file.
    """
    if sheet is not None and Path(sheet).suffix.lower() != ".png":
        raise UserError("sheet", f"{sheet} must end in .png")
    if rows < 1 or columns < 1:
        raise UserError("rows" if rows < 1 else "columns", f"{min(rows, columns)} must be at least 1")
    if not (Path(folder) / INDEX_NAME).exists() and (Path(folder) / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{folder} is the folder of a run: `maedfer info` takes a folder of shards, such as the one that "
            "its config.yaml names under data.shards"
        )
    index = read_index(folder)
    counts = FolderInfo(folder, index.classes, encoding=index.encoding, geometry=index.geometry)
    counts.synthetic = is_synthetic(index.made_by)
    total = sum(entry.samples for entry in index.shards)
    with tqdm(total=total, unit="track", desc="info", delay=2, dynamic_ncols=True) as bar:
        for entry in index.shards:
            _count_shard(counts, entry, bar)
    counts.sheet = _save(draw_sheet(folder, rows, columns), folder, sheet)
    return counts


def _count_shard(counts: FolderInfo, entry: ShardEntry, bar: tqdm[Any]) -> None:
    """Adds the samples of one shard.

    Raises:
        FileNotFoundError: it is missing.
        UserError: it is damaged.
    """
    path, before = Path(counts.folder) / entry.name, counts.samples
    advice = f"run `maedfer verify {counts.folder}`"
    for sample in read_shard(path, only=("json",)):
        try:
            record = TrackRecord.from_json(sample.get("json", b""))
        except BrokenSample as error:
            key = sample["__key__"].decode()
            text = f"the record of sample {key} in {path} is damaged: {error}; {advice}"
            raise UserError(None, text) from error
        _count(counts, record, entry.split)
        bar.update()
    counts.bytes += entry.bytes
    if counts.samples - before != entry.samples:
        text = f"{path} holds {counts.samples - before} samples, the index says {entry.samples}; {advice}"
        raise UserError(None, text)


def _save(picture: np.ndarray, folder: str, sheet: str | None) -> str | None:
    """Writes the picture uint8 RGB (height, width, 3); returns its path, None in a read-only folder."""
    path = Path(folder) / SHEET_NAME if sheet is None else Path(sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    if cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        return str(path)
    if sheet is not None:
        raise UserError("sheet", f"{sheet} could not be written")
    return None


def draw_sheet(folder: str, rows: int = 24, columns: int = 10) -> np.ndarray:
    """Draws the contact sheet of a folder: uint8 RGB (height, width, 3), one row of frames per track."""
    shards = read_index(folder).shards
    total = sum(entry.samples for entry in shards)
    chosen = set(np.linspace(0, total - 1, min(rows, total)).round().astype(int).tolist())
    strips: list[np.ndarray] = []
    first = 0
    for entry in shards:
        here = range(first, first + entry.samples)
        if not chosen.isdisjoint(here):
            samples = zip(here, read_shard(Path(folder) / entry.name), strict=False)
            strips += [_strip(sample, columns) for place, sample in samples if place in chosen]
        first = here.stop
    return np.concatenate(strips) if strips else np.zeros((CAPTION, CELL, 3), np.uint8)


def _count(counts: FolderInfo, record: TrackRecord, split: str) -> None:
    counts.durations.append(record.frames / record.fps)
    counts.frames += record.frames
    counts.short += record.short
    counts.splits[split] += 1
    counts.sources[record.source] += 1
    for counter, value in (
        (counts.labels, record.label_name),
        (counts.folds, record.fold),
        (counts.subjects, record.subject),
    ):
        if value is not None:
            counter[str(value)] += 1


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()))


def _strip(sample: Mapping[str, bytes], columns: int) -> np.ndarray:
    """Draws one row of the sheet: a caption over frames from the first to the last."""
    record = TrackRecord.from_json(sample["json"])
    times = np.linspace(0, record.frames - 1, columns).round().astype(int)
    frames = decode_frames(sample[EXTENSIONS[record.encoding]], record, times)
    cells = [cv2.resize(frame, (CELL, CELL), interpolation=cv2.INTER_AREA) for frame in frames]
    caption = np.zeros((CAPTION, CELL * columns, 3), np.uint8)
    text = f"{record.key}  {record.start_s:.1f}-{record.end_s:.1f} s  {record.label_name or ''}"
    cv2.putText(
        caption, text, (3, CAPTION - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA
    )
    return np.concatenate([caption, np.concatenate(cells, axis=1)])
