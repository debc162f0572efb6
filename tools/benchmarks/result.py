"""What a bench leaves behind: a table on the screen, the same as JSON, and a figure beside it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from maedfer.processes.cores import usable_cores

Row = dict[str, Any]


def machine() -> dict[str, Any]:
    """The hardware and the libraries that the numbers belong to."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The name of the processor: Linux keeps it in a file, elsewhere Python's guess has to do."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


@dataclass(frozen=True)
class Result:
    """The outcome of one bench.

    Attributes:
        bench: name, which the files get.
        title: what was measured, in one line.
        settings: what decides the numbers besides the machine.
        rows: one per way or size; a key without a value is left empty in the table.
    """

    bench: str
    title: str
    settings: Mapping[str, Any]
    rows: Sequence[Row]

    def publish(self, out: Path, columns: Mapping[str, str]) -> None:
        """Print the table and write `<bench>.json`.

        Args:
            out: folder, made if need be.
            columns: key of the rows to format, such as `.2f`; text goes unformatted by an empty one.
        """
        out.mkdir(parents=True, exist_ok=True)
        content = {"bench": self.bench, "title": self.title, "machine": machine()}
        content |= {"settings": dict(self.settings), "rows": list(self.rows)}
        path = out / f"{self.bench}.json"
        path.with_suffix(".part").write_text(json.dumps(content, indent=1, default=str) + "\n")
        os.replace(path.with_suffix(".part"), path)
        print(f"{self.title}\n{describe_machine()}\n\n{markdown(self.rows, columns)}\n\n{path}", flush=True)


def describe_machine() -> str:
    """The machine in a line."""
    known = machine()
    gpu = f"{known['gpu']}, " if known["gpu"] else ""
    return (
        f"{gpu}{known['processor']}, {known['cores']} cores, {known['threads']} threads, "
        f"torch {known['torch']}, Python {known['python']}"
    )


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """The rows as a Markdown table that is also readable as it is."""
    cells = [list(columns), *([_cell(row.get(key), form) for key, form in columns.items()] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    numeric = [bool(form) for form in columns.values()]
    lines = [_line(line, widths, numeric) for line in cells]
    rule = "|".join(
        "-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)
    )
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _cell(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    return "| " + " | ".join(padded) + " |"


def new_figure(width: float = 8.0, height: float = 4.0) -> Figure:
    """An empty figure, in inches; save it with `figure.savefig`."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def draw_bars(path: Path, title: str, names: Sequence[str], values: Sequence[float], unit: str) -> None:
    """Horizontal bars, the first on top, each with its number behind it.

    Args:
        path: PNG file.
        title: above the bars.
        names: of the bars.
        values: their lengths.
        unit: of the values.
    """
    figure = new_figure(8.0, 1.2 + 0.42 * len(names))
    axis = figure.subplots()
    bars = axis.barh(range(len(names)), values, color="#4878a8")
    axis.bar_label(bars, labels=[f"{value:.3g}" for value in values], padding=3)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_xlabel(unit)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", wrap=True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
