"""`maedfer merge`: joins shard folders, such as the parts packed on many machines, into one.

Shards are renumbered and copied unchanged. Records are rewritten only if the folders have different classes:
labels and votes then refer to all classes. Frames never change.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maedfer.data.pack.report import read_report, write_report
from maedfer.data.shards.format import (
    INDEX_NAME,
    ShardEntry,
    ShardIndex,
    read_index,
    read_shard,
    shard_name,
    write_index,
    write_shard,
)
from maedfer.data.shards.origin import made_by
from maedfer.data.shards.records import TrackRecord
from maedfer.data.shards.verify import check_file
from maedfer.errors import UserError
from maedfer.files import make_folder


@dataclass(frozen=True)
class MergeSummary:
    """The joined folder: the number of folders that were joined, of shards and of samples."""

    out: str
    folders: int
    shards: int
    samples: int

    def __str__(self) -> str:
        return f"merged {self.folders} folders into {self.out}: {self.samples} tracks, {self.shards} shards"


def merge(folders: list[str], out: str) -> MergeSummary:
    """Joins shard folders of the same encoding and geometry into one.

    Args:
        folders: Folders that `maedfer pack` or `maedfer merge` wrote.
        out: A new folder.

    Raises:
        FileNotFoundError: a folder has no index, as it is not finished, or lacks a shard.
        UserError: the folders do not fit together, a sample is in two of them, a shard is damaged, or there
            is no sample at all.
    """
    if not folders:
        raise UserError("folders", "name the folders to join")
    target = Path(out)
    if (target / INDEX_NAME).exists():
        raise UserError("out", f"{out} has an index already: name a new folder")
    if len({Path(folder).resolve() for folder in (*folders, out)}) <= len(folders):
        raise UserError("folders", "one is named twice, or is also `out`: name each once")
    indexes = {folder: read_index(folder) for folder in folders}
    if not any(index.shards for index in indexes.values()):
        raise UserError("folders", f"there is no face track in any of {', '.join(folders)}")
    _check_alike(indexes)
    _check_shards(indexes)
    classes = join_classes([index.classes for index in indexes.values()])
    make_folder(target)
    entries = list(_write_shards(indexes, classes, target))
    first = next(iter(indexes.values()))
    report = [row for folder in folders for row in read_report(folder)]
    if report:
        write_report(target, report)
    maker = made_by("maedfer merge", {"made_by": [index.made_by for index in indexes.values()]})
    entries.sort(key=lambda entry: entry.name)
    write_index(target, ShardIndex(tuple(entries), classes, first.geometry, first.encoding, maker))
    return MergeSummary(out, len(folders), len(entries), sum(entry.samples for entry in entries))


def join_classes(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the classes of all folders: the longest list if it holds all of them, else all names sorted."""
    longest = max(lists, key=len)
    names = {name for classes in lists for name in classes}
    if names == set(longest) and len(longest) == len(names):
        return tuple(longest)
    return tuple(sorted(names, key=int)) if all(name.isdigit() for name in names) else tuple(sorted(names))


def _check_alike(indexes: Mapping[str, ShardIndex]) -> None:
    (first, model), *others = indexes.items()
    for folder, index in others:
        for name in ("schema", "encoding", "geometry"):
            mine, theirs = getattr(model, name), getattr(index, name)
            if mine != theirs:
                raise UserError(
                    "folders",
                    f"{first} and {folder} differ in {name}: {_difference(mine, theirs)}; only folders "
                    "packed with the same settings can be merged",
                )


def _difference(mine: Any, theirs: Any) -> str:
    if not isinstance(mine, Mapping):
        return f"{mine} and {theirs}"
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {mine.get(name)} and {theirs.get(name)}" for name in names)


def _check_shards(indexes: Mapping[str, ShardIndex]) -> None:
    """Checks that shards are the files of their indexes, and that no sample is in two folders."""
    folders: dict[str, str] = {}
    twice: list[str] = []
    work = [(folder, entry) for folder, index in indexes.items() for entry in index.shards]
    for folder, entry in tqdm(work, unit="shard", desc="check", dynamic_ncols=True):
        path = Path(folder) / entry.name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is in the index but not in the folder: copy it again, or pack it again"
            )
        for problem in check_file(path, entry):
            text = f"{path} is damaged: {problem}; run `maedfer verify {folder}`"
            raise UserError("folders", text)
        for sample in read_shard(path, only=()):
            key = sample["__key__"].decode()
            if key in folders:
                twice.append(f"{key} ({folders[key]}, {folder})")
            folders[key] = folder
    if twice:
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        text = f"samples are in two folders: {', '.join(twice[:3])}{more}; leave one folder out"
        raise UserError("folders", text)


def _write_shards(
    indexes: Mapping[str, ShardIndex], classes: tuple[str, ...], target: Path
) -> Iterator[ShardEntry]:
    count: Counter[str] = Counter()
    work = [(folder, index, entry) for folder, index in indexes.items() for entry in index.shards]
    for folder, index, entry in tqdm(work, unit="shard", desc="merge", dynamic_ncols=True):
        source = Path(folder) / entry.name
        name = shard_name(entry.split, count[entry.split])
        count[entry.split] += 1
        if index.classes == classes:
            yield _copy(source, target / name, entry)
        else:
            yield write_shard(target / name, _relabelled(source, index.classes, classes))


def _copy(source: Path, target: Path, entry: ShardEntry) -> ShardEntry:
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.replace(target)
    return replace(entry, name=target.name)


def _relabelled(path: Path, before: Sequence[str], classes: Sequence[str]) -> Iterator[dict[str, bytes]]:
    """Yields the samples of a shard with labels and votes in the order of other classes."""
    place = [classes.index(name) for name in before]
    for sample in read_shard(path):
        record = TrackRecord.from_json(sample["json"])
        if record.label is not None:
            record = replace(record, label=place[record.label])
        if record.votes is not None:
            votes = dict(zip(place, record.votes, strict=True))
            record = replace(record, votes=[votes.get(number, 0) for number in range(len(classes))])
        yield sample | {"json": record.to_json()}
