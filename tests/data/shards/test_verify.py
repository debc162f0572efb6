import json
import re
import tarfile

import pytest
from helpers.pack_videos import still, write_video

from maedfer.data.pack.command import pack
from maedfer.data.shards.format import read_shard, write_shard
from maedfer.data.shards.verify import verify
from maedfer.errors import UserError
from maedfer.files import dump_json, sha256


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
        ({"label": "sad"}, "its label is 'sad', not int or null"),
        ({"frames": "33", "short": 0}, "its frames is '33', not int; its short is '0', not bool"),
        ({"frame_bytes": 7, "fps": -1}, "its fps is -1, .*; its frame_bytes is '7', not list"),
        ({"votes": [1, 2, 3, 4, 5, 6, 7, 8, 9]}, "it has 9 votes for"),
        ({"sha256": None}, "its sha256 is null"),
        ({"frame_bytes": None}, "its frame_bytes is null"),
        ({"frame_bytes": ["a"]}, "its frame_bytes are not all"),
        ({"sha256": "0" * 64}, r"do not have the checksum \(sha256\)"),
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
    assert len(found) == 3 and ": has no JSON record" in found[2]


def test_a_key_that_is_there_twice_is_named(shards):
    (shards / "train-000001.tar").write_bytes((shards / "train-000000.tar").read_bytes())
    assert "is also in train-000000.tar" in problems(shards)


def test_without_an_index_it_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="maedfer pack"):
        verify(str(tmp_path))
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(UserError, match="is not a shard index"):
        verify(str(tmp_path))


def make_hole(path, place, header):
    """Zero 200 bytes of a member, or of its header, and return the member's name."""
    with tarfile.open(path) as tar:
        member = tar.getmembers()[place]
    start = member.offset if header else member.offset_data + 300
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(200) + data[start + 200 :])
    return member.name


def test_a_hole_in_the_middle_names_its_sample(shards):
    name = make_hole(shards / "train-000000.tar", 3, header=False)
    found = verify(str(shards)).problems
    assert len(found) == 2 and "its checksum" in found[0] and name.endswith((".mjpg", ".mp4"))
    assert found[1].startswith(f"train-000000.tar: sample {name.split('.')[0]}: its frames do not have")


def test_a_hole_in_a_header_says_behind_which_member(shards):
    key = make_hole(shards / "train-000000.tar", 3, header=True).split(".")[0]
    assert f"breaks off after 1 samples: no whole member header behind {key}.json" in problems(shards)


def test_samples_of_writers_that_note_no_checksum_are_decoded_frame_by_frame(shards):
    def without(sample):
        record = json.loads(sample["json"])
        del record["sha256"]
        return sample | {"json": dump_json(record)}

    def damaged(sample):
        name, record = ("mjpg" if "mjpg" in sample else "mp4"), json.loads(sample["json"])
        if name == "mp4":
            return sample | {name: sample[name].replace(b"stts", b"free")}
        data, start = bytearray(sample[name]), sum(record["frame_bytes"][:5])
        data[start : start + 2] = bytes(2)
        return sample | {name: bytes(data)}

    for name in ("train-000000.tar", "train-000001.tar"):
        edit(shards, name, without)
    assert verify(str(shards)).ok
    edit(shards, "train-000001.tar", damaged)
    (found,) = verify(str(shards)).problems
    assert re.search("frame 5 is not a JPEG|mp4 does not decode|frames decode", found)
