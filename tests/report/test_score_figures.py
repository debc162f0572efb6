"""Pictures of scores are made where there is something to show, and say what they show."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from helpers.answers import classified, labelled, measured
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from maedfer.evaluation.score_card import ScoreCard
from maedfer.report import score_figures
from maedfer.report.score_figures import draw_confusion, draw_learning, draw_reliability, draw_scores

NAMES = (
    "angry",
    "disgust",
    "fear",
    "happy",
    "neutral",
    "sad",
    "surprise",
    "contempt",
    "anxiety",
    "other",
    "none",
)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, to look into; no warning (of glyphs, layout or 0/0) is tolerated."""
    saved, save = [], Figure.savefig

    def keep(figure, *args, **kwargs):
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield saved


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_a_confusion_matrix(tmp_path, figures):
    truth, answers = [0, 0, 0, 1, 1, 3], [0, 0, 1, 1, 1, 0]
    draw_confusion(
        tmp_path / "c.png", ScoreCard.of(classified(truth, answers, NAMES[:4])), "run, synthetic faces"
    )
    axis = figures[0].axes[0]
    assert texts(axis)[:8] == ["67\n(2)", "33\n(1)", "0", "0", "0", "100\n(2)", "0", "0"]
    assert len(texts(axis)) == 12  # nothing in the row of a class without samples
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "angry (3)",
        "disgust (2)",
        "fear (0)",
        "happy (1)",
    ]
    assert figures[0].get_suptitle().startswith("run, synthetic faces\nUAR 55.6 %")
    assert imread(tmp_path / "c.png").ndim == 3


@pytest.mark.parametrize("classes", [2, 11, 30])
def test_labels_stay_inside_and_apart(tmp_path, figures, classes):
    names = [f"{NAMES[k % 11]}{k // 11 or ''}" for k in range(classes)]
    truth = np.arange(3 * classes) % classes
    draw_confusion(tmp_path / "c.png", ScoreCard.of(classified(truth, truth[::-1], names)), "t")
    figure = figures[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    assert all(not first.overlaps(second) for first, second in pairwise(boxes))
    cells = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert (len(cells) > 0) == (classes <= score_figures.READABLE_CLASSES)
    width = figure.axes[0].get_window_extent(renderer).width / classes
    assert all(cell.width < width for cell in cells)


def test_a_reliability_diagram(tmp_path, figures):
    draw_reliability(
        tmp_path / "r.png", ScoreCard.of(classified([0, 0, 1, 1], [0, 0, 1, 0], "ab", confidence=0.9)), "run"
    )
    bars = figures[0].axes[0].patches
    assert [bar.get_height() for bar in bars] == [0] * 13 + [0.75, 0]
    assert "15.0 %" in figures[0].get_suptitle()


def test_a_task_draws_its_pictures(tmp_path, figures):
    draw_scores(tmp_path / "a", ScoreCard.of(classified([0, 1], [0, 1], "ab")), "t")
    draw_scores(tmp_path / "b", ScoreCard.of(measured(np.eye(5), np.eye(5) / 2, NAMES[:5])), "t")
    draw_scores(tmp_path / "c", ScoreCard.of(labelled([[1, 0]], [[0.6, 0.1]], "ab")), "t")
    drawn = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in "abc"]
    assert drawn == [["confusion.png", "reliability.png"], ["regression.png"], []]
    titles = [axis.get_title() for axis in figures[2].axes if axis.get_title()]
    assert len(titles) == 5 and titles[0] == "angry: CCC 0.762"  # 2 * 0.08 / (0.16 + 0.04 + 0.01)


def test_one_answer_can_be_drawn(tmp_path, figures):
    draw_scores(tmp_path, ScoreCard.of(measured([0.5], [0.25])), "t")
    draw_scores(tmp_path, ScoreCard.of(classified([1], [1], "ab", confidence=1.0)), "t")
    assert len(figures) == 3


def test_curves_of_a_run(tmp_path, figures):
    (tmp_path / "metrics.csv").write_text("step,loss,lr\n1,2.0,0.0\n2,1.5,0.1\n3,1.25,0.05\n")
    (tmp_path / "validation.csv").write_text("step,epoch,uar,war,samples\n2,0,0.5,0.6,8\n3,1,0.4,0.7,8\n")
    assert draw_learning(tmp_path / "l.png", tmp_path / "metrics.csv", tmp_path / "validation.csv", "run")
    axes = figures[0].axes
    assert [axis.get_title() for axis in axes] == ["loss", "learning rate", "held-out scores"]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes[2].lines}
    assert lines["UAR"] == [[2, 0.5], [3, 0.4]] and lines["best UAR"][0][0] == 2 and len(lines) == 3


def test_curves_of_what_there_is(tmp_path, figures):
    metrics, validation = tmp_path / "metrics.csv", tmp_path / "validation.csv"
    assert not draw_learning(tmp_path / "l.png", metrics, validation, "run")
    metrics.write_text("step,loss\n1,2.0\n")
    assert draw_learning(tmp_path / "l.png", metrics, validation, "run")
    assert [axis.get_title() for axis in figures[0].axes] == ["loss"]
    validation.write_text("step,ccc,mse\n1,0.25,4.0\n")
    assert draw_learning(tmp_path / "l.png", tmp_path / "nothing.csv", validation, "run")
    assert [line.get_label() for line in figures[1].axes[0].lines] == ["CCC", "best CCC"]
