"""Finds the sources of `maedfer pack`: files, folders, globs and lists become rows, one per source, in order.

The name of a source does not depend on the machine: it is its path relative to the folder it was found in,
with that folder's own name in front (`VoxCeleb2/id001/a.mp4`). A folder of images is a source too.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from maedfer.data.video.image_folder import FOLDER_FPS, has_frames, is_frame
from maedfer.data.video.source import Source, is_video
from maedfer.errors import UserError

LIST_SUFFIXES = (".csv", ".jsonl")


def find_sources(sources: Iterable[str | Path]) -> list[Source]:
    """Collects the sources in the order given, folders sorted, each source once.

    Args:
        sources: Files, folders (searched recursively), globs (`**` goes down), or lists: a `.csv` with a
            header or a `.jsonl`, whose paths are relative to the list. A list has a column `path` and may
            have `label`, `start`, `end` (seconds), `fold`, `subject`, `split`, and `fps` for folders of
            images; other columns are kept as metadata. Of a folder without any video, its folders of images
            are taken.

    Raises:
        FileNotFoundError: a path does not exist, or a glob or folder has no video.
        UserError: a list that cannot be read, or two sources that would have the same name.
    """
    found: dict[tuple[str, float | None, float | None], Source] = {}
    for row in (row for source in sources for row in _expand(str(source))):
        first = found.setdefault((row.name, row.start_s, row.end_s), row)
        if Path(first.path).resolve() != Path(row.path).resolve():
            raise UserError(
                "sources",
                f"{first.path} and {row.path} would both be called {row.name}: rename one of their folders, "
                "or give the folder above both as the source",
            )
        if replace(first, path="") != replace(row, path=""):
            text = f"{row.title} is listed twice, with different labels or columns: keep one"
            raise UserError("sources", text)
    if not found:
        raise FileNotFoundError("no source given: name a video, a folder, a glob, or a .csv or .jsonl list")
    return list(found.values())


def class_names(sources: Iterable[Source]) -> tuple[str, ...]:
    """Returns the sorted label names; labels that all are integers are sorted as numbers."""
    names = {source.label for source in sources if source.label is not None}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def split_of(source: Source, split: str, val_share: float) -> str:
    """Returns the split of a source: its own, or `val` for a share of the names by hash, or `split`."""
    if source.split is not None:
        return source.split
    place = int.from_bytes(hashlib.sha256(source.name.encode()).digest()[:8], "big") / 2**64
    return "val" if place < val_share else split


def _expand(source: str) -> Iterator[Source]:
    path = Path(source)
    if path.is_dir():
        yield from _folder(path)
    elif path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        yield from _list(path)
    elif path.exists():
        yield _file(path, path.absolute().parent)
    elif glob.has_magic(source):
        yield from _glob(source)
    else:
        raise FileNotFoundError(f"source {source} does not exist")


def _file(path: Path, root: Path) -> Source:
    """Returns the source of a file below the folder in its name."""
    relative = path.absolute().relative_to(root.absolute())
    return Source("/".join((root.resolve().name, *relative.parts)).lstrip("/"), str(path.absolute()))


def _elsewhere(path: Path) -> Source:
    """Returns the source of a file that is not below its list: named from its folder, links resolved."""
    folder = path.parent.resolve()
    return Source(f"{folder.name}/{path.name}".lstrip("/"), str(folder / path.name))


def _folder(root: Path) -> list[Source]:
    videos: list[Path] = []
    folders: list[Path] = []
    for folder, _, names in os.walk(root.absolute(), followlinks=True):
        videos += [Path(folder) / name for name in names if is_video(name)]
        folders += [Path(folder)] if any(map(is_frame, names)) else []
    # images beside videos are covers or contact sheets
    paths = videos or folders
    if not paths:
        raise FileNotFoundError(
            f"no video in {root} (files ending in .mp4, .mov, .avi, .mkv, .webm, ...), nor a folder of images"
        )
    return [_file(path, root) for path in sorted(paths)]


def _glob(pattern: str) -> list[Source]:
    """Returns matching files and folders of images, named from the folder before the first wildcard."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed]) if fixed else Path()
    matching = map(Path, sorted(glob.glob(pattern, recursive=True)))
    paths = [path for path in matching if not path.is_dir() or has_frames(path)]
    if not paths:
        raise FileNotFoundError(f"no file matches {pattern}")
    return [_file(path, root) for path in paths]


def _list(path: Path) -> list[Source]:
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _jsonl_rows(path)
    found = []
    for number, row in rows:
        try:
            found.append(_row(row, path.absolute().parent))
        except UserError as error:
            raise UserError("sources", f"{path}, line {number}: {error.message}") from error
    if not found:
        raise UserError("sources", f"{path} has no rows")
    return found


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        for row in reader:
            if None in row:
                text = f"{path}, line {reader.line_num}: more cells than the header has columns"
                raise UserError("sources", text)
            yield reader.line_num, {key.strip(): (value or "").strip() for key, value in row.items()}


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError("sources", f"{path}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise UserError("sources", f"{path}, line {number}: not a JSON object")
            yield number, row


def _row(row: Mapping[str, Any], root: Path) -> Source:
    """Reads one line of a list; empty cells count as absent."""
    cells = {key: value for key, value in row.items() if value not in ("", None)}
    if "path" not in cells:
        columns = ", ".join(row)
        raise UserError(
            None, f"no column path (columns: {columns}); a .csv begins with their names, such as path,label"
        )
    path = Path(str(cells.pop("path")))
    start, end = (_number(name, cells.pop(name, None), "seconds") for name in ("start", "end"))
    if end is not None and end <= (start or 0):
        raise UserError(None, f"end {end:g} is not after start {start or 0:g}")
    label, fold, subject, split = (cells.pop(name, None) for name in ("label", "fold", "subject", "split"))
    fps = _number("fps", cells.pop("fps", None) if (root / path).is_dir() else None, "frames per second")
    if fps == 0:
        raise UserError(None, "fps 0 must be more than 0")
    inside = not path.is_absolute() and ".." not in path.parts
    source = _file(root / path, root) if inside else _elsewhere(root / path)
    return replace(
        source,
        start_s=start,
        end_s=end,
        label=_text(label),
        fold=_fold(fold),
        subject=_text(subject),
        split=_text(split),
        metadata=cells,
        fps=fps or FOLDER_FPS,
    )


def _number(name: str, value: Any, unit: str) -> float | None:
    """Reads a finite number that is not negative; None for an absent cell."""
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number is not None and not 0 <= number < float("inf"):
        raise UserError(None, f"{name} {value!r} is not a number of {unit}")
    return number


def _fold(value: Any) -> int | str | None:
    """Reads a fold, a number or a name; a table with missing values has `1.0` for 1."""
    name = None if value is None else re.sub(r"^(\d+)\.0+$", r"\1", str(value))
    return int(name) if name is not None and name.isdigit() else name


def _text(value: Any) -> str | None:
    """Reads a label or a subject as a name, also if it is written as a number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else str(value)
