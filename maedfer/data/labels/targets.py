"""What a sample's record says about its label, as the target of a classifier or a regression.

A label is one class (by name, or by its place in the index's classes), the votes of several raters, or
numbers in columns of the record's metadata. Everything is mapped by name, so that shards whose index lists
the classes in another order, or has more of them, give the same targets.
"""

import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from maedfer.data.shards.format import ShardIndex
from maedfer.data.shards.reader import open_shards
from maedfer.data.shards.records import TrackRecord
from maedfer.data.shards.remote import Fetcher
from maedfer.data.shards.table import ShardTable
from maedfer.tasks import Task, TaskName, task_of


@dataclass(frozen=True)
class LabelReader:
    """Reads targets out of records.

    Attributes:
        task: Makes the target of the numbers.
        names: Names of the K outputs.
        columns: The numbers stand in the metadata, in columns of these names; classes then get shares of
            their numbers (votes).
        soft: Classes get their shares of the votes; otherwise the one with the most is the label.
        classes: The classes of the index, which `label` and `votes` of a record refer to.
    """

    task: Task
    names: tuple[str, ...]
    columns: bool = False
    soft: bool = False
    classes: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What a sample must have to count as labelled, in words."""
        if self.columns:
            return f"number in every column of {', '.join(self.names)}"
        return "votes" if self.soft else "label"

    def target(self, record: TrackRecord) -> np.ndarray | None:
        """The target of a sample, float32 (K,); None when it has no label.

        Raises:
            ValueError: an unknown label, or a value that is no number, or not one the task allows.
        """
        values = self._values(record)
        if values is None:
            return None
        self._refuse_unknown(_used(values))
        target = np.array([values.get(name, 0.0) for name in self.names])
        made = self.task.make_target(target, self.soft)
        return None if made is None else made.astype(np.float32)

    def targets(self, records: Iterable[TrackRecord]) -> np.ndarray:
        """The targets of samples, float32 (n, K), NaN for those without a label.

        Raises:
            ValueError: as `target`, with all unknown labels in one list.
        """
        records = list(records)
        self._refuse_unknown(name for record in records for name in _used(self._values(record) or {}))
        missing = np.full(len(self.names), np.nan, np.float32)
        found = [self.target(record) for record in records]
        rows = [missing if target is None else target for target in found]
        return np.array(rows, np.float32).reshape(len(rows), len(self.names))

    def _values(self, record: TrackRecord) -> dict[str, float] | None:
        """The numbers of a record by name; None without a label."""
        if self.columns:
            return self._numbers(record)
        return self._votes(record) if self.soft else self._label(record)

    def _label(self, record: TrackRecord) -> dict[str, float] | None:
        name, place = record.label_name, record.label
        if name is None and place is not None:
            name = self._places[place] if 0 <= place < len(self._places) else str(place)
        return None if name is None else {str(name): 1.0}

    def _votes(self, record: TrackRecord) -> dict[str, float] | None:
        votes = record.votes
        if votes is None:
            return None
        if len(votes) != len(self._places):
            raise ValueError(
                f"sample {record.key} has {len(votes)} votes for {len(self._places)} classes: "
                "run `maedfer verify`"
            )
        return self._cast(record, dict(zip(self._places, votes, strict=True)))

    def _numbers(self, record: TrackRecord) -> dict[str, float] | None:
        cells = {name: record.metadata.get(name) for name in self.names}
        if any(cell is None or cell == "" for cell in cells.values()):
            return None
        return self._cast(record, cells)

    def _cast(self, record: TrackRecord, cells: Mapping[str, Any]) -> dict[str, float]:
        """Cells as numbers that the task allows."""
        values = {name: _number(record.key, name, cell) for name, cell in cells.items()}
        for name, value in values.items():
            if not self.task.allows(value):
                raise ValueError(_odd(record.key, name, cells[name], self.task.allowed_values))
        return values

    @property
    def _places(self) -> tuple[str, ...]:
        """What the places in `label` and `votes` mean; without an index's classes, the outputs."""
        return self.classes or self.names

    def _refuse_unknown(self, used: Iterable[str]) -> None:
        if unknown := sorted(set(used) - set(self.names)):
            raise ValueError(f"unknown labels {', '.join(unknown)} (the classes are {', '.join(self.names)})")


def _used(values: Mapping[str, float]) -> list[str]:
    """The names that have a number other than zero."""
    return [name for name, value in values.items() if value]


def _number(key: str, column: str, cell: Any) -> float:
    """A cell as a number; lists store numbers as text too."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(_odd(key, column, cell, "a finite number"))
    return value


def _odd(key: str, column: str, cell: Any, wanted: str) -> str:
    return f"sample {key}: column {column} has {cell!r}, not {wanted}"


def label_reader(
    index: ShardIndex,
    task: TaskName,
    classes: Sequence[str | int] | None = None,
    columns: Sequence[str] | None = None,
    soft: bool = False,
) -> LabelReader:
    """The reader of a folder's labels.

    Args:
        index: The folder's index.
        task: What is learnt.
        classes: Names of the classes, in the order of the outputs; None takes the index's.
        columns: Metadata columns that hold the numbers; None reads labels, or votes.
        soft: Take the shares of the votes for the target (`classify` only).

    Raises:
        ValueError: nothing that can be learnt: too few classes, no columns, a name twice.
    """
    kind = task_of(task)
    if kind.needs_columns and not columns:
        raise ValueError(f"--task {task} reads numbers: name their columns with --data.columns")
    if soft and not kind.is_single_label:
        raise ValueError(f"--data.soft_labels are shares of classes: --task {task} has none")
    if columns and classes and [str(name) for name in classes] != list(columns):
        raise ValueError("--data.columns already names the outputs: leave out --data.classes")
    flag = "--data.columns" if columns else "--data.classes"
    names = tuple(str(name) for name in columns or classes or index.classes)
    if not names:
        raise ValueError("the shards' index has no classes: name them with --data.classes")
    if len(set(names)) < len(names):
        raise ValueError(f"{flag} has a name twice: {', '.join(names)}")
    if len(names) < kind.min_outputs:
        raise ValueError(f"only one class, {names[0]}: {task} needs {kind.min_outputs} or more ({flag})")
    return LabelReader(kind, names, bool(columns), soft, tuple(index.classes))


def read_records(shards: str, table: ShardTable, fetcher: Fetcher) -> list[TrackRecord]:
    """The records of a split in the order of its samples, without what they say of single frames.

    Args:
        shards: Folder, address, or pattern with `{name}`.
        table: The shards of the split.
        fetcher: How remote shards are fetched.

    Raises:
        FileNotFoundError: a shard of the index is not there.
        ValueError: a remote shard cannot be had, or one is damaged, or has not as many records as the index
            says.
    """
    records: list[TrackRecord] = []
    streams = open_shards(shards, table, range(len(table)), fetcher)
    for number, stream in enumerate(streams):
        name, expected = table.entry(number).name, table.entry(number).samples
        try:
            found = list(_records(stream))
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise ValueError(f"the labels in {name} cannot be read ({error}): {_remedy(shards)}") from error
        if len(found) != expected:
            raise ValueError(
                f"{name} holds {len(found)} records, the index says {expected}: {_remedy(shards)}"
            )
        records += found
    return records


def _records(stream: BinaryIO) -> Iterator[TrackRecord]:
    """Yields the records of one shard, without the fields that have a value per frame."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.name.endswith(".json"):
                record = TrackRecord.from_json(tar.extractfile(member).read())
                yield replace(record, geometry=None, frame_bytes=None)


def _remedy(shards: str) -> str:
    return f"run `maedfer verify {shards}`"
