"""`maedfer evaluate --official true`: upstream's four views, written out, give what our two clips give."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers import pretraining_runs
from helpers.clip_batches import clip_batch
from helpers.finetuning_runs import arguments, rewritten, scores, table

from maedfer.__main__ import main
from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.data.shards.format import read_index, read_shard
from maedfer.evaluation.predictions import read_predictions
from maedfer.models import LGIFormer, build_encoder
from maedfer.models.config import read_config
from maedfer.models.official import to_official
from maedfer.models.weights import load_classifier
from maedfer.training.finetuning.module import FineTuning, distinct_views

pytestmark = pytest.mark.long

SHORT = 5
"""Frames of every second test track; the others have 20, and a clip takes 16 at this rate."""


def samples_of(shards, split):
    names = [entry.name for entry in read_index(shards).of_split(split)]
    return [sample for name in names for sample in read_shard(shards / name)]


@pytest.fixture(scope="module")
def tracks(labelled_shards, tmp_path_factory):
    """The labelled shards with folds 1 and 2 of the training split, and short test tracks."""

    stored = {sample["__key__"].decode(): sample["mjpg"] for sample in samples_of(labelled_shards, "test")}

    def edit(record, number):
        record["fold"] = 1 + number % 2
        if record["key"] not in stored or not number % 2:
            return record
        sizes = record["frame_bytes"][:SHORT]
        kept = stored[record["key"]][: sum(sizes)]
        return record | {"frames": SHORT, "frame_bytes": sizes, "mjpg": kept}

    return rewritten(labelled_shards, tmp_path_factory.mktemp("official") / "tracks", edit)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as upstream saves a fine-tuned model, and its model: two blocks of width 64, seven classes."""
    torch.manual_seed(0)
    model_args = {"embed_dim": 64, "depth": 2, "num_heads": 1, "num_classes": 7, "init_scale": 1.0}
    model = build_encoder("lgi_former_base_patch16_160", model_args).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # an untrained one hardly sees which frames it is shown
            parameter.add_(0.15 * torch.randn(parameter.shape))
    path = tmp_path_factory.mktemp("weights") / "checkpoint-99.pth"
    torch.save({"model": to_official(model.state_dict()), "epoch": 99}, path)
    return path, model


def evaluate(model, shards, out, *more):
    words = ("--model", str(model), "--shards", str(shards), "--out", str(out), "--workers", "0", *more)
    return main(["evaluate", *words])


def stored_frames(shards, split="test"):
    """Keys and frames uint8 (T, H, W, 3) of a split, read with OpenCV."""
    for sample in samples_of(shards, split):
        record, data = json.loads(sample["json"]), np.frombuffer(sample["mjpg"], np.uint8)
        parts = np.split(data, np.cumsum(record["frame_bytes"])[:-1])
        yield record["key"], np.stack([cv2.imdecode(part, cv2.IMREAD_COLOR)[:, :, ::-1] for part in parts])


def four_views(frames, side):
    """Upstream's test views of a track: two segments, and of each two crops along the longer side."""
    taken = list(range(len(frames)))  # 0.16 s at 6.25 frames per second: a rate of 1
    while len(taken) < 16:
        taken.append(taken[-1])
    stored = frames.astype(np.float32)
    pictures = [cv2.resize(stored[place], (side, side), interpolation=cv2.INTER_LINEAR) for place in taken]
    buffer = np.stack(pictures) / 255
    temporal_step = max((len(buffer) - 16) / (2 - 1), 0)
    spatial_step = (max(buffer.shape[1:3]) - side) / (2 - 1)
    for segment in range(2):
        for crop in range(2):
            first, top = int(segment * temporal_step), int(crop * spatial_step)
            view = buffer[first : first + 16, top : top + side]
            yield ((view - IMAGENET_MEAN) / IMAGENET_STD).transpose(3, 0, 1, 2).astype(np.float32)


def test_four_views_of_upstream_are_two_of_ours(tracks, weights, tmp_path, monkeypatch):
    path, model = weights
    expected = {}
    for key, frames in stored_frames(tracks):
        views = torch.from_numpy(np.stack(list(four_views(frames, 160))))
        with torch.no_grad():
            logits = model(views).double().numpy()
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected[key] = shares.mean(0)
    assert len(expected) == 14

    forward, clips = LGIFormer.forward, []
    monkeypatch.setattr(LGIFormer, "forward", lambda self, x: (clips.append(len(x)), forward(self, x))[1])
    named = ("--classes", json.dumps(list(read_index(tracks).classes)), "--batch-size", "5")
    assert evaluate(path, tracks, tmp_path / "out", "--official", "true", *named) == 0
    found = read_predictions(tmp_path / "out" / "predictions.csv")
    assert found.keys == sorted(expected)
    np.testing.assert_allclose(found.outputs, [expected[key] for key in found.keys], atol=1e-5)
    assert np.ptp(found.outputs, axis=0).max() > 0.01  # the clips do differ
    # Half of the 4 x 14 clips that upstream computes, and those of the 7 short tracks once only.
    assert sum(clips) == 2 * 7 + 1 * 7

    # At this rate the long tracks are tested alike without the flag; short ones are not filled with copies.
    assert evaluate(path, tracks, tmp_path / "ours", *named) == 0
    ours = read_predictions(tmp_path / "ours" / "predictions.csv")
    changed = abs(ours.outputs - found.outputs).max(1) > 1e-4
    assert [key for key, moved in zip(ours.keys, changed, strict=True) if moved] == found.keys[1::2]


def test_a_fold_is_evaluated_alone(tracks, labelled_shards, from_scratch, tmp_path, capsys):
    assert evaluate(from_scratch, tracks, tmp_path / "out", "--fold", "2", "--views", "1") == 0
    assert "warning" not in capsys.readouterr().out  # it was trained on other shards
    keys = [sample["__key__"].decode() for sample in samples_of(tracks, "train")]
    assert read_predictions(tmp_path / "out" / "predictions.csv").keys == sorted(keys[1::2])
    report = (tmp_path / "out" / "report.html").read_text()
    assert "fold 2 of train" in report and "--fold 2" in report
    assert evaluate(from_scratch, labelled_shards, tmp_path / "all", "--split", "train", "--views", "1") == 0
    assert scores(tmp_path / "all")["samples"] == 42
    assert "warning: the model was trained on samples of" in capsys.readouterr().out
    assert "(it was trained on these)" in (tmp_path / "all" / "report.html").read_text()


def test_a_run_is_evaluated_as_it_was_trained(tracks, tmp_path):
    run, official = tmp_path / "run", ("--data.sampling", "official")
    words = (*official, "--model.region_tokens", "official", "--data.test_split", "test", "--official")
    assert main(arguments(tracks, run, *words, steps=2)) == 0
    assert read_config(run / "classifier").input.sampling == "official"
    for more in ((), ("--official", "true")):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert evaluate(run, tracks, tmp_path / "out", *more) == 0
        ours, theirs = (read_predictions(f / "predictions.csv") for f in (tmp_path / "out", run))
        np.testing.assert_allclose(ours.outputs, theirs.outputs, atol=1e-5)
    assert [int(row["step"]) for row in table(run / "metrics.csv")] == [1, 2]


def test_upstreams_pretraining_runs_and_is_reconstructed_as_it_was_trained(synthetic_shards, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    words = ("--data.sampling", "official", "--model.region_tokens", "official", "--model.motion_group", "4")
    # Two stored frames from one frame of a clip to the next: the tracks are too short, and end in copies.
    words += ("--model.mask_mode", "random", "--data.frame_interval_s", "0.32", "--data.workers", "0")
    assert main(pretraining_runs.arguments(synthetic_shards, run, *words, steps=1)) == 0
    assert len(pretraining_runs.rows(run)) == 1
    shown = ["reconstruct", "--model", str(run), "--shards", str(synthetic_shards), "--out", str(out)]
    assert main([*shown, "--batch-size", "4"]) == 0
    (there,), (here,) = (table(folder / "held_out.csv") for folder in (run, out))
    assert {name: float(cell) for name, cell in here.items()} == pytest.approx(
        {name: float(cell) for name, cell in there.items()}, rel=1e-4
    )


def test_other_intervals_are_asked_for_by_a_flag(tracks, from_scratch, tmp_path):
    for interval in ("0.16", "0.32"):
        words = ("--views", "1", "--frame-interval-s", interval)
        assert evaluate(from_scratch, tracks, tmp_path / interval, *words) == 0
    one, other = (read_predictions(tmp_path / name / "predictions.csv") for name in ("0.16", "0.32"))
    assert abs(one.outputs - other.outputs).max() > 1e-5
    assert "--frame-interval-s 0.32" in (tmp_path / "0.32" / "report.html").read_text()


def test_what_does_not_fit_is_one_line(tracks, weights, from_scratch, tmp_path, capsys):
    def refused(model, *more):
        assert evaluate(model, tracks, tmp_path / "out", *more) == 2
        message = capsys.readouterr().err.strip()
        assert "\n" not in message and message.startswith("maedfer evaluate: "), message
        return message

    path, _ = weights
    assert "does not name its 7 classes" in refused(path) and "--classes" in refused(path)
    assert "the model has 7 outputs" in refused(path, "--classes", '["happy", "sad"]')
    assert "leave out --classes" in refused(from_scratch, "--classes", '["a","b","c","d","e","f","g"]')
    assert "unknown labels" in refused(path, "--classes", '["a","b","c","d","e","f","g"]')
    assert "leave out --views 4" in refused(path, "--official", "true", "--views", "4")
    message = refused(from_scratch, "--fold", "7")
    assert "--fold" in message and "(folds: 1, 2)" in message
    assert "--frame-interval-s" in refused(from_scratch, "--frame-interval-s", "0")
    assert not (tmp_path / "out").exists()


def test_views_that_are_the_same_clip_are_computed_once():
    assert distinct_views([0.0, 0.4, 0.0, 0.0, 0.0, 0.4], 2) == ([0, 1, 2, 4, 5], [0, 1, 2, 2, 3, 4])
    assert distinct_views([0.0, 0.0], 1) == ([0, 1], [0, 1])
    # Clips of different samples are never taken for one another.
    model_args = {"img_size": 32, "region_size": (2, 2, 4), "num_classes": 2}
    model = build_encoder("lgi_former_tiny_patch8_64", model_args).eval()
    module = FineTuning.of_classifier(model, ["a", "b"])
    clips = torch.randint(0, 256, (4, 16, 3, 32, 32), dtype=torch.uint8)
    batch = clip_batch("aabb", clips=clips, targets=torch.zeros(4, 2))
    clips[1] = clips[0]
    with torch.no_grad():
        once = module.predicted(replace(batch, starts=[0.0, 0.0, 0.0, 0.8]), views=2)["outputs"]
        whole = module.predicted(replace(batch, starts=[0.0, 0.1, 0.0, 0.8]), views=2)["outputs"]
    torch.testing.assert_close(once, whole, atol=1e-6, rtol=0)


def test_released_weights_load_with_a_name_for_each_class(weights):
    path, model = weights
    module = FineTuning.of_classifier(load_classifier(path), tuple("abcdefg"))
    assert module.outputs == tuple("abcdefg") and module.task.name == "classify" and module.num_frames == 16
    clip = torch.randn(1, 3, 16, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(module(clip), model(clip))
