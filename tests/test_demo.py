"""`maedfer demo` at a fraction of its length: every stage, its pictures, and going on where it stopped."""

from maedfer import demo
from maedfer.__main__ import main


def test_the_whole_way_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "SHORT", demo.Scale(clips=32, steps=4, minutes="a few seconds", val_clips=8))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "synthetic" in shown and "pos. mean" in shown
    for place in ("packed.png", "pretrain/encoder/model.safetensors", "pretrain/figures/losses.png"):
        assert (tmp_path / place).is_file()
    assert list((tmp_path / "reconstruction").glob("*.png"))

    encoder = (tmp_path / "pretrain" / "encoder" / "model.safetensors").read_bytes()
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "pretrain" / "encoder" / "model.safetensors").read_bytes() == encoder
