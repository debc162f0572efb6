"""The demo in full gives the table that README publishes."""

import re
from pathlib import Path

import pytest

from maedfer.__main__ import main
from maedfer.demo.table import ROWS

README = Path(__file__).resolve().parents[2] / "README.md"


def means(text: str) -> dict[str, float]:
    """The mean of each row of a table whose lines begin with its name."""
    found = {name: re.search(rf"^[| ]*{re.escape(name)}[ |*]+(\d+\.\d) ±", text, re.M) for name in ROWS}
    return {name: float(match[1]) for name, match in found.items() if match}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_gives_the_published_table(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    shown, published = means(capsys.readouterr().out), means(README.read_text())
    assert published.keys() == set(ROWS)
    # To the digit on one kind of processor; another one rounds otherwise.
    assert shown == pytest.approx(published, abs=2)
