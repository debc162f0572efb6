"""`report.html`: one self-contained page about a run, with its numbers, pictures, settings and versions.

Pictures are embedded, so the page can be mailed or kept after the run folder is gone. `write_page` and the
pieces beside it make any page of this kind.
"""

from __future__ import annotations

import base64
import html
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from maedfer.files import write_atomically

LIBRARIES = (
    *("maedfer", "torch", "torchvision", "pytorch-lightning", "timm", "webdataset"),
    *("numpy", "scikit-learn"),
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr + tr { border-top: 1px solid #ddd; }
img { max-width: 100%; } pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""


def write_page(path: Path, title: str, sections: Sequence[str]) -> None:
    """Write a page.

    Args:
        path: the HTML file.
        title: its heading.
        sections: HTML, in the order they stand in.
    """
    name = html.escape(title)
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title><style>{STYLE}</style>"
    write_atomically(path, (head + f"<h1>{name}</h1>" + "".join(sections) + "\n</html>\n").encode())


def paragraph(text: str) -> str:
    """A line of text; nothing when it is empty."""
    return f"<p>{html.escape(text)}</p>" if text else ""


def section(title: str, content: str) -> str:
    """A heading and the HTML that stands below it; nothing when that is empty."""
    return f"<h2>{html.escape(title)}</h2>{content}" if content else ""


def verbatim(text: str) -> str:
    """A command or a file as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Rows of cells below a header, first column to the left and others to the right; empty without rows."""
    lines = [f"<tr>{_cells('td', row)}</tr>" for row in rows]
    if not lines:
        return ""
    head = f"<tr>{_cells('th', header)}</tr>" if header else ""
    return f"<table>{head}{''.join(lines)}</table>"


def _cells(tag: str, values: Iterable[object]) -> str:
    """The cells of a row."""
    return "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values)


def picture(path: Path | None) -> str:
    """An embedded PNG; empty when there is none."""
    if path is None or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(path.stem)}' src='data:image/png;base64,{data}'>"


def newest(folder: Path, pattern: str) -> Path | None:
    """The last file of a pattern in order of its name."""
    return max(folder.glob(pattern), default=None)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers."""
    rows = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            rows[name] = version(name)
        except PackageNotFoundError:
            rows[name] = "not installed"
    return rows


def versions_table() -> str:
    """The same as HTML."""
    return table(versions().items())
