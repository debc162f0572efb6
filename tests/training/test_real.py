"""In miniature, what a lab does: real videos in, a pre-trained encoder out. Needs the clips beside the
checkout.
"""

import csv
import json

import pytest

import maedfer
from maedfer.__main__ import main

pytestmark = pytest.mark.long

CLIPS = ("single_face_360p.mp4", "expressive_512_a.mp4", "no_face.mp4")


@pytest.mark.real
def test_real_videos_become_an_encoder(shared, tmp_path):
    shards, run = tmp_path / "shards", tmp_path / "run"
    sources = [str(shared / "faces" / name) for name in CLIPS]
    detector = ("--detector", "yunet", "--detector-model", str(shared / "models" / "yunet_n_320_320.onnx"))
    assert main(["pack", *sources, "--out", str(shards), *detector, "--size", "64"]) == 0
    lines = [json.loads(line) for line in (shards / "report.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok", "ok", "no_face"]
    assert json.loads((shards / "index.json").read_text())["geometry"]["rotated"] is True

    small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    args = [
        "--config",
        "pretrain/demo",
        "--run",
        str(run),
        "--data.shards",
        str(shards),
        "--data.workers",
        "0",
    ]
    args += [
        "--model.model_args",
        json.dumps(small),
        "--data.batch_size",
        "4",
        "--data.clips_per_sample",
        "2",
    ]
    assert main(["pretrain", *args, "--trainer.max_steps", "12"]) == 0
    with (run / "metrics.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert maedfer.load_encoder(run).embed_dim == 32
    assert list((run / "figures").glob("reconstruction_*.png"))
