"""`maedfer demo` at a fraction of its length: every stage, its table, going on where it stopped."""

import pytest
from helpers.page import Page
from matplotlib.figure import Figure

from maedfer.__main__ import main
from maedfer.demo import command as demo
from maedfer.demo import page as demo_page
from maedfer.demo import table as demo_table

pytestmark = pytest.mark.long

TINY = demo.DemoLength(
    clips=32,
    steps=4,
    minutes="a few seconds",
    val_clips=8,
    labelled=14,
    test=14,
    seeds=1,
    fine_tuning_steps=2,
    probe_steps=3,
)


def test_the_whole_way_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "SHORT", TINY)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "synthetic" in shown and "pos. mean" in shown
    assert all(name in shown.split("UAR in percent")[1] for name in (*demo_table.ROWS, demo_table.PIXELS))
    for place in ("labelled.png", "pretrain/encoder/model.safetensors", "pretrain/figures/losses.png"):
        assert (tmp_path / place).is_file()
    assert list((tmp_path / "reconstruction").glob("*.png"))
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and "Pre-training on 32 unlabelled clips" in page.text and text.count("<img") == 4
    assert text.index('class="answer"') < text.index('alt="scores"') < text.index("<h2>Scores")
    assert text.index("<h2>Scores") < text.index('alt="losses"') < text.index('alt="labelled"')
    assert [row[0] for row in page.tables["Scores"][1:]] == [*demo_table.ROWS, demo_table.PIXELS]

    encoder = (tmp_path / "pretrain" / "encoder" / "model.safetensors").read_bytes()
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "pretrain" / "encoder" / "model.safetensors").read_bytes() == encoder
    assert (
        capsys.readouterr().out.split("UAR in percent")[1].split("minutes")[0].splitlines()[:-1]
        == (shown.split("UAR in percent")[1].split("minutes")[0].splitlines()[:-1])
    )


SCORES = {
    demo_table.FROM_SCRATCH: [60.0, 64.0],
    demo_table.FINE_TUNED: [85.0, 83.0],
    demo_table.ATTENTIVE_PROBE: [55.0, 70.0],
    demo_table.PIXELS: [82.9],
}


def test_the_chart_shows_means_and_seeds(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(demo_page, "Figure", lambda **how: figures.append(Figure(**how)) or figures[0])
    demo_page.draw_chart(tmp_path / "scores.png", SCORES)
    (axis,) = figures[0].axes
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([62.0, 84.0, 62.5, 82.9])
    assert len({bar.get_facecolor() for bar in axis.patches[::3]}) == 1  # no encoder
    assert len({bar.get_facecolor() for bar in axis.patches}) == 2
    assert any(list(line.get_xdata()) == [85.0, 83.0] for line in axis.lines)
    assert (tmp_path / "scores.png").is_file()


def test_the_answer_holds_the_numbers_of_the_table():
    said = demo_page.answer(SCORES, unlabelled=3_000, labelled=112)
    for words in (
        "3,000 unlabelled",
        "112 labelled",
        "by +22.0 points, from 62.0 to 84.0 percent",
        "synthetic",
    ):
        assert words in said
    assert "(2 seeds, +19.0 at the worst)" in said and "pixels reaches 82.9" in said
    shown = demo_page.describe_results(SCORES)
    assert "by +22.0 points (+19.0 at the worst seed)" in shown and "by +0.5 points (-5.0)" in shown
    assert [line.split()[-2:] for line in shown.splitlines()[2:4]] == [["60.0", "64.0"], ["85.0", "83.0"]]
