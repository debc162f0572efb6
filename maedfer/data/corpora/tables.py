"""Reading the lists that come with corpora: comma or space separated, with or without a byte order mark or
Windows line ends, and Excel sheets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a comma-separated table with a header, by the lower-case names of the columns.

    Raises:
        ValueError: a column is missing, a row is not a row, or there is none.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.reader(stream, skipinitialspace=True)
        header = [name.strip().lower() for name in next(reader, [])]
        lacking = [name for name in columns if name not in header]
        if lacking:
            raise ValueError(
                f"{path} has no column {', '.join(lacking)} (columns: {', '.join(header) or 'none'})"
            )
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    if not rows:
        raise ValueError(f"{path} has no rows: is it wholly downloaded?")
    for number, cells in rows:
        if len(cells) < len(header):
            raise ValueError(
                f"{path}, line {number}: {len(cells)} cells, the header has {len(header)} columns"
            )
    return [{name: cell.strip() for name, cell in zip(header, cells, strict=False)} for _, cells in rows]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The lines `name label` of a list without a header; the label is the last word of its line.

    Raises:
        ValueError: a line with one word, or no line.
    """
    pairs = []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").replace("\t", " ").strip().rsplit(" ", 1)
        if words == [""]:
            continue
        if len(words) < 2:
            raise ValueError(f"{path}, line {number}: {line!r} is not `name label`")
        pairs.append((words[0].strip().strip('"'), words[1].strip('"')))
    if not pairs:
        raise ValueError(f"{path} has no lines: is it wholly downloaded?")
    return pairs


def read_sheet(path: Path) -> list[dict[str, Any]]:
    """The rows of the first sheet of an Excel file, by the lower-case names in its first row.

    Raises:
        ValueError: the file cannot be read, or openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ModuleNotFoundError as error:
        raise ValueError(f"reading {path} needs openpyxl: pip install 'maedfer[train]'") from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # zipfile, XML and openpyxl errors of many kinds
        raise ValueError(f"{path} is not a readable .xlsx file ({type(error).__name__}: {error})") from error
    header = [str(cell or "").strip().lower() for cell in (rows or [[]])[0]]
    return [dict(zip(header, row, strict=False)) for row in rows[1:] if any(cell is not None for cell in row)]


def as_label(path: Path, text: str, classes: Sequence[str]) -> str:
    """The class of a name, in whatever case.

    Raises:
        ValueError: there is none.
    """
    known = {name.lower(): name for name in classes}
    if text.lower() not in known:
        raise ValueError(f"{path}: label {text!r} is none of {', '.join(classes)}")
    return known[text.lower()]


def numbered_label(path: Path, text: str, classes: Sequence[str]) -> str:
    """The class of a number, counted from 1.

    Raises:
        ValueError: there is none.
    """
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= len(classes)):
        raise ValueError(f"{path}: label {text!r} is none of 1 to {len(classes)} ({', '.join(classes)})")
    return classes[int(text) - 1]
