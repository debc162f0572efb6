"""Reads the lists that come with corpora: comma or space separated, with or without a byte order mark or
Windows line ends, and Excel sheets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maedfer.errors import UserError


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Reads a comma-separated table with a header: rows by the lower-case names of the columns.

    Raises:
        UserError: a column is missing, a row is too short, or there is no row.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.reader(stream, skipinitialspace=True)
        header = [name.strip().lower() for name in next(reader, [])]
        lacking = [name for name in columns if name not in header]
        if lacking:
            found = ", ".join(header) or "none"
            raise UserError(None, f"{path} has no column {', '.join(lacking)} (columns: {found})")
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    if not rows:
        raise UserError(None, f"{path} has no rows: is the download complete?")
    for number, cells in rows:
        if len(cells) < len(header):
            counts = f"{len(cells)} cells, the header has {len(header)} columns"
            raise UserError(None, f"{path}, line {number}: {counts}")
    return [{name: cell.strip() for name, cell in zip(header, cells, strict=False)} for _, cells in rows]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Reads the lines `name label` of a list without a header; the label is the last word of its line.

    Raises:
        UserError: a line with one word, or no line.
    """
    pairs = []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").replace("\t", " ").strip().rsplit(" ", 1)
        if words == [""]:
            continue
        if len(words) < 2:
            raise UserError(None, f"{path}, line {number}: {line!r} is not `name label`")
        pairs.append((words[0].strip().strip('"'), words[1].strip('"')))
    if not pairs:
        raise UserError(None, f"{path} has no lines: is the download complete?")
    return pairs


def read_sheet(path: Path) -> list[dict[str, Any]]:
    """Reads the first sheet of an Excel file: rows by the lower-case names in its first row.

    Raises:
        UserError: the file cannot be read, or openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ModuleNotFoundError as error:
        raise UserError(None, f"reading {path} needs openpyxl: pip install 'maedfer[train]'") from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # zipfile, XML and openpyxl errors of many kinds
        reason = f"{type(error).__name__}: {error}"
        raise UserError(None, f"{path} is not a readable .xlsx file ({reason})") from error
    header = [str(cell or "").strip().lower() for cell in (rows or [[]])[0]]
    return [dict(zip(header, row, strict=False)) for row in rows[1:] if any(cell is not None for cell in row)]


def as_label(path: Path, text: str, classes: Sequence[str]) -> str:
    """Returns the class of a name, in whatever case.

    Raises:
        UserError: no class has this name.
    """
    known = {name.lower(): name for name in classes}
    if text.lower() not in known:
        raise UserError(None, f"{path}: label {text!r} is none of {', '.join(classes)}")
    return known[text.lower()]


def as_number(place: str, cell: Any) -> float:
    """Returns the number in a cell.

    Raises:
        UserError: the cell holds something else; the message begins with its place.
    """
    try:
        return float(cell)
    except (TypeError, ValueError) as error:
        raise UserError(None, f"{place}: {cell!r} is not a number") from error


def numbered_label(path: Path, text: str, classes: Sequence[str]) -> str:
    """Returns the class of a number, counted from 1.

    Raises:
        UserError: no class has this number.
    """
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= len(classes)):
        raise UserError(None, f"{path}: label {text!r} is none of 1 to {len(classes)} ({', '.join(classes)})")
    return classes[int(text) - 1]
