"""How a pack run went: `report.jsonl`, one line per source, and the summary that is printed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maedfer.data.pack.one_source import STATUSES
from maedfer.files import dump_json, write_atomically

REPORT_NAME = "report.jsonl"


@dataclass(frozen=True)
class PackSummary:
    """What a pack run made: samples and shards, how many sources went which way, and what else to say."""

    out: str
    samples: int
    shards: int
    statuses: dict[str, int]
    finished_before: bool = False
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((self._first_line(), *self.remarks))

    def _first_line(self) -> str:
        if self.finished_before:
            return f"{self.out} is finished: {self.samples} tracks, {self.shards} shards; nothing to do"
        failed = ", ".join(
            f"{self.statuses[name]} {name}" for name in STATUSES[1:] if self.statuses.get(name)
        )
        text = (
            f"packed {self.samples} tracks of {self.statuses.get('ok', 0)} sources into {self.shards} shards"
        )
        return f"{text} in {self.out}" + (f"; {failed}: see {REPORT_NAME}" if failed else "")


def write_report(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the report: `source`, `status`, `reason` and `tracks` (samples) of each source."""
    write_atomically(folder / REPORT_NAME, b"".join(dump_json(row) for row in rows))


def read_report(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a folder's report; empty for one that has none."""
    path = Path(folder) / REPORT_NAME
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def count_statuses(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many sources went which way, in the order of `STATUSES`."""
    counts = Counter(row["status"] for row in rows)
    return {name: counts[name] for name in STATUSES if counts[name]}
