"""Every labelled corpus goes all the way on a few drawn clips: packed, fine-tuned, evaluated."""

import csv
import json
from pathlib import Path

import pytest
from helpers import miniatures
from helpers.miniatures import SENTENCES, frame_folder, video
from matplotlib.figure import Figure

from maedfer.__main__ import main
from maedfer.data.corpora import load_corpus
from maedfer.data.pack.report import read_report
from maedfer.data.shards.format import read_index, read_shard
from maedfer.data.shards.verify import verify
from maedfer.models.config import read_config

pytestmark = pytest.mark.long

MODEL = {"img_size": 32, "region_size": [2, 2, 4], "embed_dim": 24, "depth": 1, "num_heads": 2}


def once(name, folds):
    """Each class once in each fold (or split)."""
    return {fold: list(load_corpus(name).classes) for fold in folds}


def ravdess(root):
    return miniatures.ravdess(root, (1, 5), video(".mp4"))


def cremad(root):
    names = [f"{actor}_TIE_{each}_XX" for actor in (1001, 1019) for each in load_corpus("cremad").classes]
    names += ["1001_IEO_SAD_HI", f"1019_{SENTENCES[-1]}_SAD_X"]
    return miniatures.cremad(root, names, video(".flv", "flv"))


WAYS = {
    "dfew": lambda root: miniatures.dfew(root, once("dfew", range(1, 6)), frame_folder()),
    "ferv39k": lambda root: miniatures.ferv39k(root, once("ferv39k", ("train", "test")), frame_folder()),
    "mafw": lambda root: miniatures.mafw(root, once("mafw", range(1, 6)), frame_folder(".png")),
    "mafw_compound": lambda root: miniatures.mafw(
        root, once("mafw_compound", range(1, 6)), frame_folder(".png"), "compound"
    ),
    "ravdess": ravdess,
    "cremad": cremad,
    "enterface05": lambda root: miniatures.enterface05(root, (1, 6, 11), video(".avi")),
}
"""How a folder of a corpus is made."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Figures take most of the time of a run of two steps, and are tested elsewhere."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Path(path).write_bytes(b""))


def records(shards):
    for entry in read_index(shards).shards:
        for sample in read_shard(shards / entry.name, only=("json",)):
            yield entry.split, json.loads(sample["json"])


@pytest.mark.parametrize("name", WAYS)
def test_a_corpus_goes_all_the_way(name, tmp_path, capsys):
    root, shards, run, results = (tmp_path / each for each in ("corpus", "shards", "run", "results"))
    WAYS[name](root)
    words = packing(root, name, shards)
    if name in ("ravdess", "cremad", "enterface05"):  # no detector finds these drawn faces
        words += ["--allow-missing", "--detector", "none"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert f"{name}: " in said.err and "--detector none " in said.err and "--fps 25" in said.err
    assert "published are" in said.err and "published are" in said.out
    assert ("left out: " in said.err) == ("--allow-missing" in words)

    corpus, index, packed = load_corpus(name), read_index(shards), list(records(shards))
    assert index.classes == corpus.classes and index.made_by["settings"]["corpus"] == name
    assert {row.status for row in read_report(shards)} == {"ok"} and verify(str(shards)).ok
    assert all(corpus.classes[record["label"]] == record["label_name"] for _, record in packed)
    assert {(record["frames"], record["fps"], record["short"]) for _, record in packed} == {(6, 25, True)}
    assert all(record["source"].startswith(f"{name}/") for _, record in packed)
    check_fields(name, packed)

    where = ["--split", "test"] if name == "ferv39k" else ["--fold", "2"]
    assert main(finetuning(shards, run, [] if name == "ferv39k" else ["--data.fold", "2"])) == 0
    assert (
        main(["evaluate", "--model", str(run), "--shards", str(shards), "--out", str(results), *where]) == 0
    )
    with (results / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    tested = [each for split, each in packed if (split == "test" if name == "ferv39k" else each["fold"] == 2)]
    assert {row["key"] for row in rows} == {record["key"] for record in tested} and len(rows) == len(tested)
    assert read_config(run / "classifier").output.names == tuple(corpus.classes)


def packing(root, name, shards):
    words = ["pack", str(root), "--corpus", name, "--out", str(shards)]
    return [*words, "--size", "32", "--workers", "1"]


def finetuning(shards, run, more):
    return [
        *("finetune", "--config", "finetune/demo", "--run", str(run), "--data.shards", str(shards)),
        *("--model.model_args", json.dumps(MODEL), "--data.batch_size", "6", "--official", "true"),
        *("--trainer.max_steps", "2", "--trainer.enable_progress_bar", "false", *more),
    ]


def check_fields(name, packed):
    """What the lists and names of each corpus say is in the records."""
    labels = [record["label_name"] for _, record in packed]
    metadata = [record["metadata"] for _, record in packed]
    subjects = {record["subject"] for _, record in packed}
    if name == "dfew":
        assert all(
            record["votes"][record["label"]] == 7 and sum(record["votes"]) == 10 for _, record in packed
        )
        assert sorted({record["fold"] for _, record in packed}) == [1, 2, 3, 4, 5] and len(labels) == 35
    elif name == "ferv39k":
        assert [split for split, _ in packed].count("test") == 7
        assert all(each["scene"] in miniatures.SCENES for each in metadata)
    elif name == "ravdess":
        assert subjects == {"actor 1", "actor 5"} and len(labels) == 120 and labels.count("neutral") == 8
        assert {each["intensity"] for each in metadata} == {"normal", "strong"}
    elif name == "cremad":
        assert subjects == {"actor 1001", "actor 1019"} and labels.count("SAD") == 4
        assert {each["intensity"] for each in metadata} == {"XX", "X", "HI"}
    elif name == "enterface05":
        assert subjects == {"subject 1", "subject 11"} and len(labels) == 60
    else:
        assert len(labels) == 5 * len(set(labels))


def test_votes_are_learnt_as_shares(tmp_path):
    root, shards = tmp_path / "dfew", tmp_path / "shards"
    miniatures.dfew(root, once("dfew", range(1, 6)), frame_folder())
    assert main(packing(root, "DFEW", shards)) == 0
    more = ["--data.fold", "1", "--data.soft_labels", "true"]
    assert main(finetuning(shards, tmp_path / "run", more)) == 0


def test_tracks_without_labels_keep_their_person_and_crop(tmp_path, capsys):
    root, shards = miniatures.voxceleb2(tmp_path / "v", video(".mp4")), tmp_path / "shards"
    words = [
        "pack",
        str(root),
        "--corpus",
        "voxceleb2",
        "--out",
        str(shards),
        "--size",
        "32",
        "--workers",
        "1",
    ]
    assert main([*words, "--min-frames", "6"]) == 0
    assert main([*packing(root, "voxceleb2", shards), "--min-frames", "6"]) == 0
    said = capsys.readouterr().out
    assert "is finished: 3 tracks" in said and said.count("voxceleb2, all: 3 clips, published are") == 2
    (_, first), *others = sorted(records(shards), key=lambda each: each[1]["source"])
    assert len(others) == 2 and first["subject"] == "id00012" and first["label"] is None
    assert first["geometry"]["boxes"][0] == pytest.approx([32 / 7, 0, 160 / 7, 160 / 7], abs=0.06)
    settings = read_index(shards).made_by["settings"]
    assert (settings["detector"], settings["fps"], settings["one_track"]) == ("none", 12.5, False)
    # A track is a sample, as published; and what was packed with a crop of the frame can be asked about.
    assert settings["max_seconds"] == 600
    assert main(["info", str(shards)]) == 0


@pytest.mark.real
def test_a_raw_clip_gives_one_track_of_its_face(tmp_path, shared):
    clip = tmp_path / "ravdess" / "Video_Speech_Actor_01" / "Actor_01" / "02-01-03-01-01-01-01.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes((shared / "faces" / "single_face_360p.mp4").read_bytes())
    words = ["pack", str(tmp_path / "ravdess"), "--corpus", "ravdess", "--out", str(tmp_path / "shards")]
    assert main([*words, "--allow-missing", "--workers", "1"]) == 0
    ((_, record),) = records(tmp_path / "shards")
    assert (record["label_name"], record["fold"], record["geometry"]["detector"]) == ("happy", 1, "haar")
    assert record["face_ok"] > 0.5 and record["frames"] > 50
