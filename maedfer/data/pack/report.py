"""The outcome of a pack run: `report.jsonl`, one line per source, and the summary on the screen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from maedfer.data.pack.job import STATUSES, Status
from maedfer.files import dump_json, write_atomically

REPORT_NAME = "report.jsonl"


@dataclass(frozen=True)
class ReportRow:
    """The outcome for one source: its title, status and reason, and its number of samples."""

    source: str
    status: Status
    reason: str
    tracks: int


@dataclass(frozen=True)
class PackSummary:
    """The outcome of a run: samples and shards, number of sources by status, and remarks."""

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
        counts = ((name, self.statuses.get(name, 0)) for name in STATUSES[1:])
        failed = ", ".join(f"{count} {name}" for name, count in counts if count)
        text = (
            f"packed {self.samples} tracks of {self.statuses.get('ok', 0)} sources into {self.shards} shards"
        )
        return f"{text} in {self.out}" + (f"; {failed}: see {REPORT_NAME}" if failed else "")


def write_report(folder: Path, rows: Iterable[ReportRow]) -> None:
    """Writes the report of a folder."""
    write_atomically(folder / REPORT_NAME, b"".join(dump_json(asdict(row)) for row in rows))


def read_report(folder: str | Path) -> list[ReportRow]:
    """Reads the report of a folder; empty if there is none."""
    path = Path(folder) / REPORT_NAME
    if not path.is_file():
        return []
    return [ReportRow(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def count_statuses(rows: Iterable[ReportRow]) -> dict[str, int]:
    """Counts the sources of each status, in the order of `STATUSES`."""
    counts = Counter(row.status for row in rows)
    return {name: counts[name] for name in STATUSES if counts[name]}
