"""Reads the targets of a classifier or a regression out of the records of samples.

A label is one class (by name, or by its position in the index's classes), the votes of several raters, or
numbers in columns of the record's metadata. Values are matched by name, so that shards whose index lists the
classes in another order, or has more of them, give the same targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maedfer.data.shards.format import ShardIndex
from maedfer.data.shards.reader import open_shards
from maedfer.data.shards.records import BrokenSample, TrackRecord
from maedfer.data.shards.remote import Fetcher
from maedfer.data.shards.samples import DamagedTar, iterate_samples
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError
from maedfer.tasks import Task, TaskName, task_of


@dataclass(frozen=True)
class LabelReader:
    """Reads targets out of records.

    Attributes:
        task: Makes the target of the numbers.
        names: Names of the K outputs.
        columns: Read numbers from the metadata columns of these names; for classes they count as votes.
        soft: Keep the shares of the votes as target; otherwise the class with the most votes is the label.
        classes: The classes of the index, to which `label` and `votes` of a record refer.
    """

    task: Task
    names: tuple[str, ...]
    columns: bool = False
    soft: bool = False
    classes: tuple[str, ...] = ()

    @property
    def label_kind(self) -> str:
        """The value that makes a sample count as labelled, in words."""
        if self.columns:
            return f"number in every column of {', '.join(self.names)}"
        return "votes" if self.soft else "label"

    def targets(self, records: Iterable[TrackRecord]) -> np.ndarray:
        """Returns the targets of samples, float32 (n, K), NaN for those without a label.

        Raises:
            UserError: unknown labels, or a value that is not a finite number that the task allows.
        """
        values = [self._values(record) for record in records]
        used = {name for row in values if row for name, value in row.items() if value}
        if unknown := sorted(used - set(self.names)):
            text = f"unknown labels {', '.join(unknown)} (the classes are {', '.join(self.names)})"
            raise UserError("classes", text)
        targets = np.full((len(values), len(self.names)), np.nan, np.float32)
        for target, row in zip(targets, values, strict=True):
            if row is not None:
                numbers = np.array([row.get(name, 0.0) for name in self.names])
                made = self.task.make_target(numbers, self.soft)
                target[:] = np.nan if made is None else made
        return targets

    def _values(self, record: TrackRecord) -> dict[str, float] | None:
        """Returns the numbers of a record by name; None without a label.

        `label` and `votes` refer to the classes of the index, or to the outputs where it has none.
        """
        classes = self.classes or self.names
        if self.columns:
            cells = {name: record.metadata.get(name) for name in self.names}
            lacking = any(cell is None or cell == "" for cell in cells.values())
            return None if lacking else self._allowed(record.key, cells)
        if self.soft:
            if record.votes is None:
                return None
            if len(record.votes) != len(classes):
                text = f"sample {record.key} has {len(record.votes)} votes for {len(classes)} classes"
                raise BrokenSample(None, f"{text}: run `maedfer verify`")
            return self._allowed(record.key, dict(zip(classes, record.votes, strict=True)))
        name = record.label_name
        if name is None and record.label is not None:
            name = classes[record.label] if record.label in range(len(classes)) else str(record.label)
        return None if name is None else {name: 1.0}

    def _allowed(self, key: str, cells: Mapping[str, Any]) -> dict[str, float]:
        """Converts the cells of a sample to numbers and refuses those that the task does not allow."""
        values = {}
        for name, cell in cells.items():
            try:
                value = float(cell)
            except (TypeError, ValueError):
                value = np.nan
            if not np.isfinite(value) or not self.task.allows(value):
                kind = self.task.allowed_values if np.isfinite(value) else "a finite number"
                text = f"sample {key}: column {name} has {cell!r}, not {kind}"
                raise UserError("columns" if self.columns else None, text)
            values[name] = value
        return values


def label_reader(
    index: ShardIndex,
    task: TaskName,
    classes: Sequence[str | int] | None = None,
    columns: Sequence[str] | None = None,
    soft_labels: bool = False,
) -> LabelReader:
    """Returns the reader of a folder's labels.

    Args:
        index: The folder's index.
        task: Name of the task.
        classes: Names of the classes, in the order of the outputs; None takes the index's.
        columns: Metadata columns that hold the numbers; None reads labels, or votes.
        soft_labels: Keep the shares of the votes as target, where each sample has one class.

    Raises:
        UserError: the outputs cannot be learned: too few classes, no columns, a name twice.
    """
    kind = task_of(task)
    if kind.needs_columns and not columns:
        raise UserError("task", f"{task} reads numbers: name their `columns`")
    if soft_labels and not kind.is_single_label:
        raise UserError("soft_labels", f"takes shares of classes, and `task={task}` has none")
    if columns and classes and [str(name) for name in classes] != list(columns):
        raise UserError("columns", "already names the outputs: leave out `classes`")
    names = tuple(str(name) for name in columns or classes or index.classes)
    parameter = "columns" if columns else "classes"
    if not names:
        raise UserError("classes", "the shards' index has no classes: name them")
    if len(set(names)) < len(names):
        raise UserError(parameter, f"{', '.join(names)} has a name twice")
    if len(names) < kind.min_outputs:
        raise UserError(parameter, f"only one class, {names[0]}: {task} needs {kind.min_outputs} or more")
    return LabelReader(kind, names, bool(columns), soft_labels, tuple(index.classes))


def read_records(shards: str, table: ShardTable, fetcher: Fetcher) -> list[TrackRecord]:
    """Returns the records of a split in the order of its samples, without fields of single frames.

    Args:
        shards: Folder, address, or pattern with `{name}`.
        table: The shards of the split.
        fetcher: Fetches remote shards.

    Raises:
        FileNotFoundError: a shard of the index is missing.
        UserError: a remote shard cannot be fetched, or one is damaged, or the number of its records is not
            that of the index.
    """
    records: list[TrackRecord] = []
    for number, stream in enumerate(open_shards(shards, table, range(len(table)), fetcher)):
        entry, before, text = table.entry(number), len(records), ""
        try:
            for sample in iterate_samples(stream, only=("json",)):
                if "json" in sample:
                    record = TrackRecord.from_json(sample["json"])
                    records.append(replace(record, geometry=None, frame_bytes=None))
        except (DamagedTar, BrokenSample, OSError) as error:
            text = f"the labels in {entry.name} cannot be read ({error})"
        found = len(records) - before
        if text or found != entry.samples:
            text = text or f"{entry.name} holds {found} records, the index says {entry.samples}"
            raise UserError("shards", f"{text}: run `maedfer verify {shards}`")
    return records
