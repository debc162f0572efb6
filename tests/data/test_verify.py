import json
import re

import cv2
import pytest
from pack_videos import still, write_video

from maedfer.data.contact_sheet import CAPTION, CELL, info
from maedfer.data.pack import pack
from maedfer.data.shards import dump_json, read_index, read_shard, sha256, write_shard
from maedfer.data.verify import verify


@pytest.fixture(scope="module")
def verify_source(tmp_path_factory):
    """Three samples in two shards, with labels; one folder per encoding."""
    folder = tmp_path_factory.mktemp("verify")
    rows = ["path,label,subject,fold"]
    for i, label in enumerate(("sad", "happy", "sad")):
        write_video(folder / f"{i}.mp4", still((30 + 10 * i, 32)), 65 + 10 * i)
        rows.append(f"{i}.mp4,{label},s{i % 2},{i}")
    (folder / "list.csv").write_text("\n".join(rows))
    for encoding in ("jpeg", "h264"):
        options = {"detector": "none", "size": 32, "workers": 1, "max_samples": 2, "encoding": encoding}
        pack([str(folder / "list.csv")], str(folder / encoding), **options)
    return folder


@pytest.fixture(params=["jpeg", "h264"])
def shards(request, verify_source, tmp_path):
    """A fresh copy of a packed folder."""
    for path in (verify_source / request.param).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder, name, change):
    """Rewrite a shard with changed samples, and its line of the index with it."""
    samples = [change(dict(sample)) for sample in read_shard(folder / name)]
    write_shard(folder / name, [sample for sample in samples if sample])
    index = json.loads((folder / "index.json").read_bytes())
    entry = next(entry for entry in index["shards"] if entry["name"] == name)
    entry |= {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
    (folder / "index.json").write_bytes(dump_json(index))


def problems(folder):
    return "\n".join(verify(str(folder)).problems)


def test_a_whole_folder_is_ok(shards):
    report = verify(str(shards))
    assert report.ok and (report.samples, report.shards) == (3, 2) and "all whole" in str(report)


def test_a_shard_cut_short_is_named(shards):
    path = shards / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:3000])
    found = problems(shards)
    assert "train-000001.tar: 3000 bytes, the index says" in found
    assert "train-000001.tar: breaks off after 0 samples" in found and "000000" not in found


def test_a_changed_byte_is_found_by_the_checksum(shards):
    path = shards / "train-000000.tar"
    data = bytearray(path.read_bytes())
    data[-11000 if len(data) > 12000 else -1] ^= 255
    path.write_bytes(data)
    assert "train-000000.tar: its checksum" in problems(shards)


def test_missing_and_unlisted_files_are_named(shards):
    (shards / "train-000001.tar").rename(shards / "train-000007.tar")
    (shards / "train-000008.tar.part").touch()
    found = problems(shards)
    assert "train-000001.tar: missing" in found and "train-000007.tar: not in the index" in found
    assert "train-000008.tar.part: left by an interrupted run" in found


def test_a_wrong_count_in_the_index_is_named(shards):
    index = json.loads((shards / "index.json").read_bytes())
    index["shards"][0]["samples"] = 5
    (shards / "index.json").write_bytes(dump_json(index))
    assert problems(shards) == "train-000000.tar: 2 samples, the index says 5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 34}, "34"),
        ({"width": 30}, "30x32|the record says"),
        ({"label": 0, "label_name": "sad"}, r"label 0 \(sad\) is not one of the index's classes"),
        ({"key": "other-0-000"}, "for the key other-0-000"),
        ({"encoding": "png"}, "has no . member"),
    ],
)
def test_a_record_that_does_not_fit_is_named(shards, change, message):
    edit(
        shards,
        "train-000000.tar",
        lambda sample: sample | {"json": dump_json(json.loads(sample["json"]) | change)},
    )
    found = verify(str(shards)).problems
    assert found and all(line.startswith("train-000000.tar: sample ") for line in found)
    assert re.search(message, "\n".join(found))


def test_members_that_are_gone_or_damaged_are_named(shards):
    def damage(sample):
        return {
            name: data[: len(data) // 2] if name in ("mjpg", "mp4") else data for name, data in sample.items()
        }

    edit(shards, "train-000000.tar", damage)
    edit(shards, "train-000001.tar", lambda sample: {k: v for k, v in sample.items() if k != "json"})
    found = verify(str(shards)).problems
    assert len(found) == 3 and found[2].endswith("has no JSON record")


def test_a_key_that_is_there_twice_is_named(shards):
    (shards / "train-000001.tar").write_bytes((shards / "train-000000.tar").read_bytes())
    assert "is also in train-000000.tar" in problems(shards)


def test_without_an_index_it_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="maedfer pack"):
        verify(str(tmp_path))
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(ValueError, match="is not a shard index"):
        verify(str(tmp_path))


def test_info_counts_and_draws(shards, tmp_path):
    sheet = tmp_path / "sheets" / "a.png"
    found = info(str(shards), str(sheet), rows=2, columns=5)
    assert (found.samples, len(found.sources), found.short) == (3, 3, 0)
    assert found.labels == {"sad": 2, "happy": 1} and found.subjects == {"s0": 2, "s1": 1}
    assert found.frames == 33 + 38 + 43 and found.seconds == pytest.approx(found.frames / 12.5)
    assert found.encoding == read_index(shards).encoding
    assert "labels: happy 1, sad 2" in str(found) and "splits: train 3" in str(found)
    picture = cv2.imread(str(sheet))
    assert picture.shape == (2 * (CELL + CAPTION), 5 * CELL, 3)
    assert picture[CAPTION + CELL // 2 :: CELL + CAPTION].max() > 150  # the drawn face is there
    with pytest.raises(ValueError, match=r"must end in \.png"):
        info(str(shards), str(tmp_path / "a.pdf"))
