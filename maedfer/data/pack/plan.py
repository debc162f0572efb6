"""The plan of a pack run: its sources and settings, and the check that a folder was begun with the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maedfer.constants import NUM_FRAMES
from maedfer.data.pack.inputs import PackInputs
from maedfer.data.pack.job import Job
from maedfer.data.pack.report import PackSummary, count_statuses, read_report
from maedfer.data.pack.settings import PackSettings
from maedfer.data.pack.sources import split_of
from maedfer.data.pack.spool import Spool
from maedfer.data.shards.format import INDEX_NAME, SHEET_NAME, ShardEntry, read_index, shard_name
from maedfer.data.video.image_folder import frame_names
from maedfer.data.video.source import Source
from maedfer.errors import UserError
from maedfer.files import dump_json

ADDED_SETTINGS = {"one_track": False, "min_frames": NUM_FRAMES, "squeeze": False}
"""Settings that folders of earlier versions do not record, with the values that these versions used."""


@dataclass(frozen=True)
class PackPlan:
    """A run.

    Attributes:
        settings: Its settings.
        recorded: The settings that decide its bytes, as the index records them.
        sources: The sources of its part.
        splits: The split of each.
        inputs: All inputs, of which the run packs a part.
    """

    settings: PackSettings
    recorded: Mapping[str, Any]
    sources: list[Source]
    splits: list[str]
    inputs: PackInputs

    def summary(self, folder: Path, shards: Sequence[ShardEntry], before: bool = False) -> PackSummary:
        """Returns the summary of a folder with these shards and a report; `before`: finished earlier."""
        report = read_report(folder)
        return PackSummary(
            out=str(folder),
            samples=sum(entry.samples for entry in shards),
            shards=len(shards),
            statuses=count_statuses(report),
            finished_before=before,
            remarks=self.inputs.remarks(self.sources, self.splits, [row.tracks > 0 for row in report]),
        )

    def rows(self) -> list[list[Any]]:
        """Returns what the run notes of each source: title, split, label, and size of the file."""
        return [
            [source.title, split, source.label, _size(source.path)]
            for source, split in zip(self.sources, self.splits, strict=True)
        ]

    def digest(self) -> dict[str, Any]:
        """Returns number and hash of the sources, for the index."""
        return {"count": len(self.sources), "sha256": hashlib.sha256(dump_json(self.rows())).hexdigest()}

    def job(self, number: int, spool: Spool) -> Job:
        """Returns the job of a source."""
        source, classes = self.sources[number], self.inputs.classes
        return Job(
            source=source,
            crop=self.settings.crop,
            store=self.settings.store,
            spool=str(spool.samples(number)),
            label=None if source.label is None else classes.index(source.label),
            votes=None if not source.votes else [source.votes.get(name, 0) for name in classes],
        )


def make_plan(inputs: PackInputs, settings: PackSettings) -> PackPlan:
    """Returns the plan of a run; labels and splits do not depend on the part.

    Raises:
        UserError: the part is empty, or the name of a split is wrong.
    """
    sources = settings.part.of(inputs.sources)
    if not sources:
        raise UserError("part", f"{settings.part} of {len(inputs.sources)} sources is empty: use fewer parts")
    shards = settings.shards
    splits = [split_of(source, shards.split, shards.val_share) for source in sources]
    for name in {*splits, shards.split}:
        shard_name(name, 0)
    recorded = settings.recorded(inputs.corpus.name if inputs.corpus else None)
    return PackPlan(settings, recorded, sources, splits, inputs)


def _size(path: str) -> int | None:
    """Returns the bytes of a file or the images of a folder; None for a path that is missing."""
    try:
        if os.path.isdir(path):
            return len(frame_names(path))
        return os.stat(path).st_size
    except OSError:
        return None


def finished_before(folder: Path, plan: PackPlan) -> PackSummary | None:
    """Returns the summary of a folder that the same run has finished before; None without an index.

    Raises:
        UserError: the folder was finished with other settings or sources.
    """
    if not (folder / INDEX_NAME).is_file():
        return None
    index = read_index(folder)
    _check_settings(folder, index.made_by.get("settings", {}), plan.recorded)
    if index.made_by.get("sources") != plan.digest():
        before = [row.source for row in read_report(folder)]
        raise _other_sources(folder, before, [each.title for each in plan.sources])
    Spool(folder).remove()
    return plan.summary(folder, index.shards, before=True)


def begin(folder: Path, plan: PackPlan) -> Spool:
    """Opens the folder of a new run, or of the same run that was interrupted.

    Raises:
        UserError: the folder holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError("out", f"{folder} is a file: name a folder")
    spool = Spool(folder)
    before = spool.plan()
    rows = plan.rows()
    if before is None:
        ours = (spool.folder.name, SHEET_NAME)
        if folder.is_dir() and any(path.name not in ours for path in folder.iterdir()):
            raise UserError(
                "out", f"{folder} is not empty, and not a folder that `maedfer pack` began: name another"
            )
        spool.begin({"settings": plan.recorded, "sources": rows})
        return spool
    _check_settings(folder, before["settings"], plan.recorded)
    if before["sources"] != rows:
        raise _other_sources(folder, [row[0] for row in before["sources"]], [row[0] for row in rows])
    return spool


def _check_settings(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before = ADDED_SETTINGS | dict(before)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise UserError(
                "out",
                f"{folder} was begun with `{name}` {before.get(name)}, not {now.get(name)}: use the same "
                "settings, or another folder",
            )


def _other_sources(folder: Path, before: list[str], now: list[str]) -> UserError:
    """Returns the error for a folder of other sources, which names one of them."""
    new, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    texts = [f"{len(new)} new, such as {new[0]}"] if new else []
    texts += [f"{len(gone)} missing, such as {gone[0]}"] if gone else []
    difference = "; ".join(texts) or "the same names with other files, labels, splits or order"
    return UserError("out", f"{folder} was begun with other sources ({difference}): use another folder")
