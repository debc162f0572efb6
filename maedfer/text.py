"""Formats times and tables for the screen."""

from __future__ import annotations

from collections.abc import Sequence


def duration(seconds: float) -> str:
    """Formats a time in its two largest units: `3 d 4 h`, `4 h 05 min`, `5 min 10 s`, `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Aligns rows of cells in columns: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *cells in rows:
        rest = (f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"{first:<{widths[0]}}{''.join(rest)}".rstrip())
    return "\n".join(lines)
