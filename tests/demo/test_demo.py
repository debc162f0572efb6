"""`maedfer demo` at a fraction of its length: every stage, its table, going on where it stopped."""

from maedfer.__main__ import main
from maedfer.demo import command as demo
from maedfer.demo import table as demo_table

TINY = demo.Scale(
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
    assert "linear probe, pretrained" in (tmp_path / "report.html").read_text()

    encoder = (tmp_path / "pretrain" / "encoder" / "model.safetensors").read_bytes()
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "pretrain" / "encoder" / "model.safetensors").read_bytes() == encoder
    assert (
        capsys.readouterr().out.split("UAR in percent")[1].split("minutes")[0].splitlines()[:-1]
        == (shown.split("UAR in percent")[1].split("minutes")[0].splitlines()[:-1])
    )


def test_the_verdict_says_what_the_table_holds():
    rows = {"scratch": [60.0, 64.0], "tuned": [85.0, 83.0], "probe": [55.0, 70.0], "more": [1.0, 2.0]}
    said = demo_table.verdict(rows)
    assert "+22.0 points (+19.0 at the worst seed)" in said
    assert "+0.5 points (-5.0)" in said
