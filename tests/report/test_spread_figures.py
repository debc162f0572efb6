"""Figures of folds and of differences show the numbers they are given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from maedfer.evaluation.compare import Difference
from maedfer.report import spread_figures
from maedfer.report.spread_figures import draw_differences, draw_folds


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    made = []

    def make(*args, **kwargs):
        made.append(Figure(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(spread_figures, "Figure", make)
    return made


def test_folds_with_their_mean(tmp_path, figures):
    each = {"1": {"uar": 0.5, "war": 0.6}, "a longer name": {"uar": 0.7, "war": 0.8}}
    intervals = {"uar": (0.55, 0.65), "war": (0.6, 0.75)}
    draw_folds(tmp_path / "new" / "f.png", each, {"uar": 0.6, "war": 0.7}, intervals, "t")
    (axis,) = figures[0].axes
    points, mean = axis.lines[0], axis.lines[1]
    assert points.get_ydata() == pytest.approx([50, 70]) and set(mean.get_ydata()) == {60}
    assert [text.get_text() for text in axis.get_xticklabels()] == list(each)
    assert axis.patches[1].get_y() == pytest.approx(60) and axis.patches[1].get_height() == pytest.approx(15)
    said = [text.get_text() for text in axis.get_legend().get_texts()]
    assert said == ["mean UAR", "its 95% interval", "mean WAR", "its 95% interval"]
    assert (tmp_path / "new" / "f.png").is_file()


def test_differences_that_are_clear_stand_out(tmp_path, figures):
    rows = {
        "UAR": Difference("uar", 0.5, 0.52, (0.01, 0.03)),
        "a": Difference("ccc_a", 0.0, -1.0, (-2.0, 1.0)),
        "b": Difference("recall_b", np.nan, np.nan, (np.nan, np.nan)),
    }
    draw_differences(tmp_path / "d.png", rows, "points", "t")
    (axis,) = figures[0].axes
    assert [list(line.get_xdata()) for line in axis.lines[::2][:2]] == [[1, 3], [-2, 1]]
    assert axis.lines[0].get_color() == "C0" and axis.lines[2].get_color() == "0.6"
    assert len(axis.lines) == 5  # two of each row with a number, and zero
