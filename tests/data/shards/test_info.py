import json

import cv2
import pytest
from helpers.pack_videos import still, write_video

from maedfer.cli import run
from maedfer.data.pack.command import pack
from maedfer.data.shards.format import read_index, read_shard, write_shard
from maedfer.data.shards.info import CAPTION, CELL, info
from maedfer.data.shards.verify import verify
from maedfer.errors import UserError
from maedfer.files import dump_json


@pytest.fixture(scope="module")
def sheet_source(tmp_path_factory):
    """Three labelled tracks in two shards."""
    folder = tmp_path_factory.mktemp("sheet")
    rows = ["path,label,subject,fold"]
    for i, label in enumerate(("sad", "happy", "sad")):
        write_video(folder / f"{i}.mp4", still((30 + 10 * i, 32)), 65 + 10 * i)
        rows.append(f"{i}.mp4,{label},s{i % 2},{i}")
    (folder / "list.csv").write_text("\n".join(rows))
    options = {"detector": "none", "size": 32, "workers": 1, "max_samples": 2}
    pack([str(folder / "list.csv")], str(folder / "shards"), **options)
    return folder / "shards"


@pytest.fixture
def shards(sheet_source, tmp_path):
    """A fresh copy of the folder."""
    out = tmp_path / "shards"
    out.mkdir()
    for path in sheet_source.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


def test_info_counts_and_draws(shards, tmp_path):
    sheet = tmp_path / "sheets" / "a.png"
    found = info(str(shards), str(sheet), rows=2, columns=5)
    assert (found.samples, len(found.sources), found.short) == (3, 3, 0)
    assert found.labels == {"sad": 2, "happy": 1} and found.subjects == {"s0": 2, "s1": 1}
    assert found.frames == 33 + 38 + 43 and sum(found.durations) == pytest.approx(found.frames / 12.5)
    assert found.encoding == read_index(shards).encoding
    assert "labels in order: happy 1, sad 2" in str(found) and "splits: train 3" in str(found)
    assert "synthetic" not in str(found)
    picture = cv2.imread(str(sheet))
    assert picture.shape == (2 * (CELL + CAPTION), 5 * CELL, 3)
    assert picture[CAPTION + CELL // 2 :: CELL + CAPTION].max() > 150  # the drawn face is there
    with pytest.raises(UserError, match=r"^sheet: .* must end in \.png"):
        info(str(shards), str(tmp_path / "a.pdf"))


def test_the_sheet_lies_in_the_folder_where_nobody_minds_it(shards):
    found = info(str(shards))
    assert found.sheet == str(shards / "contact_sheet.png") and f"contact sheet: {found.sheet}" in str(found)
    assert cv2.imread(found.sheet).shape[0] == 3 * (CELL + CAPTION)
    assert verify(str(shards)).ok


def test_a_folder_that_takes_no_picture_is_still_counted(shards):
    (shards / "contact_sheet.png").mkdir()
    assert "3 tracks" in str(info(str(shards))) and "see --sheet" in str(info(str(shards)))


def test_drawn_faces_are_called_synthetic(shards):
    index = json.loads((shards / "index.json").read_bytes())
    index["made_by"]["synthetic"] = True
    (shards / "index.json").write_bytes(dump_json(index))
    assert "synthetic faces" in str(info(str(shards)))


def test_damage_is_one_line_that_names_it(shards, capsys):
    path = shards / "train-000001.tar"
    whole = path.read_bytes()
    for damaged in (whole[:3000], whole[:512], b"noise" * 400, b""):
        path.write_bytes(damaged)
        assert run("info", [str(shards)]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"{path} breaks off after 0 samples" in error and f"run `maedfer verify {shards}`" in error
    path.write_bytes(whole)
    samples = list(read_shard(path))
    write_shard(path, [sample | {"json": b"[]"} for sample in samples])
    with pytest.raises(UserError, match=r"record of sample .* is damaged.*; run `maedfer verify"):
        info(str(shards))
    write_shard(path, samples[:0])
    with pytest.raises(UserError, match=r"000001.tar holds 0 samples, the index says 1; run `maedfer verify"):
        info(str(shards))


def test_a_run_folder_is_refused_by_what_it_is(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(
        FileNotFoundError, match="is the folder of a run: `maedfer info` takes a folder of shards"
    ):
        info(str(tmp_path))
