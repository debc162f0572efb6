"""Renders a page from a template: one self-contained HTML file with its pictures embedded.

Pages can be mailed, and outlive the folder of their run. The templates escape every value they are given.
"""

from __future__ import annotations

import base64
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from maedfer.files import write_atomically
from maedfer.text import aligned

LIBRARIES = (
    *("maedfer", "torch", "torchvision", "pytorch-lightning", "timm", "webdataset"),
    *("numpy", "scikit-learn"),
)
"""Libraries that decide the numbers of a page."""

SYNTHETIC = "All faces in these data are synthetic."


@dataclass(frozen=True)
class Table:
    """The text of a table's cells; a page aligns the first column to the left and the others to the right.

    Attributes:
        rows: the cells.
        header: names of the columns; empty leaves the header out.
        note: a sentence above the table.
    """

    rows: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    note: str = ""

    def as_text(self) -> str:
        """Formats header and rows for the screen."""
        return aligned([self.header, *self.rows])


def write_page(path: Path, template: str, **values: object) -> None:
    """Renders a template and writes the page.

    Args:
        path: the HTML file.
        template: name of a file in `templates`.
        **values: variables of the template.
    """
    text = _ENVIRONMENT.get_template(template).render(values, versions=Table([*versions().items()]))
    write_atomically(path, text.encode())


def embed(path: Path | None) -> str:
    """Returns a PNG file as a data URI; an empty string if there is no such file."""
    if path is None or not path.is_file():
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def drop_nulls(settings: str) -> str:
    """Removes the settings that are null from the text of a YAML file."""
    return re.sub(r"^[^\n#:]+: null\n", "", settings, flags=re.MULTILINE)


def newest(folder: Path, pattern: str) -> Path | None:
    """Returns the file of a pattern whose name sorts last; None if there is none."""
    return max(folder.glob(pattern), default=None)


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that decide the numbers."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


_ENVIRONMENT = Environment(
    loader=PackageLoader("maedfer.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals["SYNTHETIC"] = SYNTHETIC
_ENVIRONMENT.filters |= {"embed": embed, "drop_nulls": drop_nulls}
