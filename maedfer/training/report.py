"""`report.html`: one self-contained page about a run, with its numbers, pictures, settings and versions.

Pictures are embedded, so the page can be mailed or kept after the run folder is gone.
"""

from __future__ import annotations

import base64
import html
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from maedfer.data.shards import write_atomically
from maedfer.training.held_out import HEADS, PREDICTORS
from maedfer.training.run_folder import RunFolder

LIBRARIES = ("maedfer", "torch", "torchvision", "pytorch-lightning", "timm", "webdataset", "numpy")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr + tr { border-top: 1px solid #ddd; }
img { max-width: 100%; } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""


def write_report(folder: RunFolder, title: str, command: str) -> None:
    """Write `report.html` of a run that has its `summary.json`.

    Args:
        folder: the run.
        title: heading, such as the architecture and the shards.
        command: the command line that ended the run.
    """
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    warning = "All faces in these data are synthetic." if summary["synthetic"] else ""
    sections = (
        f"<h1>{html.escape(title)}</h1><p>{summary['steps']:,} steps. {warning}</p>",
        f"<pre>{html.escape(command)}</pre>",
        section("Held-out reconstruction", held_out_table(summary["held_out"])),
        section("Losses", picture(folder.figures / "losses.png")),
        section("Reconstruction", picture(newest(folder.figures, "reconstruction_*.png"))),
        section("Settings", f"<pre>{html.escape(folder.config.read_text(encoding='utf-8'))}</pre>"),
        section("Versions", versions_table()),
    )
    page = f"<!doctype html><meta charset='utf-8'><title>{html.escape(title)}</title><style>{STYLE}</style>"
    write_atomically(folder.report, (page + "".join(sections)).encode())


def section(title: str, content: str) -> str:
    """A heading and what stands below it; nothing when that is empty."""
    return f"<h2>{html.escape(title)}</h2>{content}" if content else ""


def held_out_table(errors: dict[str, float]) -> str:
    """Errors of the heads beside both baselines; empty for a run without a held-out split."""
    if not errors:
        return ""
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("head", *PREDICTORS, "gain"))
    rows = []
    for name in (*HEADS, "total"):
        values = [errors[f"{name}_{predictor}"] for predictor in PREDICTORS]
        cells = [f"{value:.4f}" for value in values] + [f"{1 - values[0] / min(values[1:]):.1%}"]
        rows.append(f"<tr><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def picture(path: Path | None) -> str:
    """An embedded PNG; empty when there is none."""
    if path is None or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(path.stem)}' src='data:image/png;base64,{data}'>"


def newest(folder: Path, pattern: str) -> Path | None:
    """The last file of a pattern in order of its name."""
    return max(folder.glob(pattern), default=None)


def versions_table() -> str:
    """Versions of Python and of the libraries that decide the numbers."""
    rows: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            rows[name] = version(name)
        except PackageNotFoundError:
            rows[name] = "not installed"
    cells = "".join(f"<tr><td>{name}</td><td>{html.escape(str(v))}</td></tr>" for name, v in rows.items())
    return f"<table>{cells}</table>"
