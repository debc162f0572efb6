import json
import shutil

import pytest
from helpers.pack_videos import still, write_video

from maedfer.cli import run
from maedfer.data.pack.command import pack
from maedfer.data.pack.merge import join_classes, merge
from maedfer.data.pack.report import read_report
from maedfer.data.shards.format import read_index, read_shard
from maedfer.data.shards.info import info
from maedfer.data.shards.verify import verify
from maedfer.errors import UserError
from maedfer.files import dump_json

OPTIONS = {"detector": "none", "size": 32, "workers": 1, "max_samples": 2}


@pytest.fixture(scope="module")
def merge_lists(tmp_path_factory):
    """Two lists over six clips with different labels, and a folder of the same clips."""
    folder = tmp_path_factory.mktemp("merge") / "clips"
    folder.mkdir()
    for i in range(6):
        write_video(folder / f"{i}.mp4", still((24 + 9 * i, 32)), 64)
    for name, labels in (("one", ["sad", "happy", "sad"]), ("two", ["angry", "sad", "calm"])):
        first = 0 if name == "one" else 3
        rows = [f"{first + i}.mp4,{label}" for i, label in enumerate(labels)]
        (folder / f"{name}.csv").write_text("\n".join(["path,label", *rows]))
    return folder


def records(folder):
    found = {}
    for entry in read_index(folder).shards:
        for sample in read_shard(folder / entry.name):
            record = json.loads(sample.pop("json"))
            found[record["key"]] = (record, sample, entry.split)
    return found


def test_parts_merge_to_what_one_machine_packs(merge_lists, tmp_path):
    options = OPTIONS | {"val_share": 0.4}
    pack([str(merge_lists)], str(tmp_path / "whole"), **options)
    for part in ("1/2", "2/2"):
        pack([str(merge_lists)], str(tmp_path / part[0]), part=part, **options)
    summary = merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "both"))
    assert records(tmp_path / "both") == records(tmp_path / "whole")
    assert summary.samples == 6 and verify(str(tmp_path / "both")).ok
    names = [entry.name for entry in read_index(tmp_path / "both").shards]
    assert names == sorted(names) and {"train-000000.tar", "train-000001.tar"} <= set(names)
    assert len(read_report(tmp_path / "both")) == 6


def test_labels_move_to_their_place_among_all_classes(merge_lists, tmp_path):
    for name in ("one", "two"):
        pack([str(merge_lists / f"{name}.csv")], str(tmp_path / name), **OPTIONS)
    merge([str(tmp_path / "one"), str(tmp_path / "two")], str(tmp_path / "both"))
    classes = read_index(tmp_path / "both").classes
    assert classes == ("angry", "calm", "happy", "sad")
    found = records(tmp_path / "both")
    assert len(found) == 6
    assert all(classes[record["label"]] == record["label_name"] for record, _, _ in found.values())
    assert verify(str(tmp_path / "both")).ok


def test_classes_keep_an_order_that_has_them_all():
    assert join_classes([("neutral", "happy"), ("happy",)]) == ("neutral", "happy")
    assert join_classes([("b", "a"), ("c",)]) == ("a", "b", "c")
    assert join_classes([("10", "2"), ("1",)]) == ("1", "2", "10")
    assert join_classes([(), ("x",)]) == ("x",)


def test_folders_that_do_not_fit_are_refused(merge_lists, tmp_path):
    one = tmp_path / "one"
    pack([str(merge_lists / "one.csv")], str(one), **OPTIONS)
    pack([str(merge_lists / "two.csv")], str(tmp_path / "other"), **OPTIONS | {"size": 48})
    pack([str(merge_lists / "one.csv")], str(tmp_path / "same"), **OPTIONS | {"max_samples": 9})
    with pytest.raises(UserError, match=r"^folders: .*differ in geometry: size 32 and 48"):
        merge([str(one), str(tmp_path / "other")], str(tmp_path / "out"))
    key = next(iter(records(one)))
    with pytest.raises(UserError, match=f"^folders: samples are in two folders: {key}"):
        merge([str(one), str(tmp_path / "same")], str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"^folders: .*named twice"):
        merge([str(one), f"{one}/"], str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"^out: .*has an index already"):
        merge([str(one)], str(tmp_path / "same"))
    with pytest.raises(FileNotFoundError, match="no index"):
        merge([str(one), str(tmp_path)], str(tmp_path / "out"))
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_part_without_any_face_is_merged_with_its_report(merge_lists, tmp_path):
    """The second of two parts holds nothing but a clip that is too short."""
    clips = tmp_path / "clips"
    clips.mkdir()
    shutil.copy(merge_lists / "0.mp4", clips / "0.mp4")
    write_video(clips / "1.mp4", still(), 5)
    for part in ("1/2", "2/2"):
        summary = pack([str(clips)], str(tmp_path / part[0]), part=part, **OPTIONS)
    assert summary.samples == 0 and read_index(tmp_path / "2").shards == ()
    assert pack([str(clips)], str(tmp_path / "2"), part="2/2", **OPTIONS).finished_before
    assert verify(str(tmp_path / "2")).ok and info(str(tmp_path / "2")).samples == 0
    assert merge([str(tmp_path / "1"), str(tmp_path / "2")], str(tmp_path / "both")).samples == 1
    assert [row.status for row in read_report(tmp_path / "both")] == ["ok", "too_short"]
    with pytest.raises(UserError, match=r"^folders: .*no face track in any of"):
        merge([str(tmp_path / "2")], str(tmp_path / "none"))


def test_a_shard_that_breaks_off_is_one_line(merge_lists, tmp_path, capsys):
    pack([str(merge_lists / "one.csv")], str(tmp_path / "one"), **OPTIONS)
    path = tmp_path / "one" / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    assert run("merge", [str(tmp_path / "one"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{path} is damaged: 3000 bytes, the index says" in error and "run `maedfer verify" in error
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_not_merged(merge_lists, tmp_path):
    pack([str(merge_lists / "one.csv")], str(tmp_path / "one"), **OPTIONS)
    index = json.loads((tmp_path / "one" / "index.json").read_bytes())
    index["shards"][0]["sha256"] = "0" * 64
    (tmp_path / "one" / "index.json").write_bytes(dump_json(index))
    with pytest.raises(UserError, match=r"^folders: .*is damaged"):
        merge([str(tmp_path / "one")], str(tmp_path / "out"))
