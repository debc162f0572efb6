import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.pack_videos import still, write_audio, write_video

from maedfer.data.pack.command import pack
from maedfer.data.pack.pool import run_jobs
from maedfer.data.pack.report import ReportRow, read_report
from maedfer.data.pack.settings import POSITIVE
from maedfer.data.shards.encoding import decode_frames, encode_track
from maedfer.data.shards.format import read_index, read_shard
from maedfer.data.shards.records import FIELD_TYPES, TrackRecord
from maedfer.data.shards.verify import verify
from maedfer.data.video.video_file import VideoFile
from maedfer.errors import UserError

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
SMALL = {"detector": "none", "size": 32, "workers": 1, "max_samples": 3}


@pytest.fixture(scope="module")
def pack_folder(tmp_path_factory):
    """Six good videos, one of them split in two, and six of which nothing can be made."""
    folder = tmp_path_factory.mktemp("pack") / "clips"
    folder.mkdir()
    for i in range(5):
        write_video(folder / f"good{i}.mp4", still((30 + 8 * i, 32)), 65 + i, audio_first=i == 1)
    write_video(folder / "long.mkv", still(), 350)
    write_video(folder / "few.mp4", still(), 15)
    write_audio(folder / "sound.mp4")
    (folder / "empty.mp4").touch()
    (folder / "noise.avi").write_bytes(bytes(range(256)) * 20)
    cut = write_video(folder / "cut.mp4", still(), 60)
    cut.write_bytes(cut.read_bytes()[:-300])
    return folder


@pytest.fixture(scope="module")
def packed(pack_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "shards"
    return out, pack([str(pack_folder)], str(out), **SMALL)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def samples(folder):
    for entry in read_index(folder).shards:
        for sample in read_shard(Path(folder) / entry.name):
            yield json.loads(sample["json"]), sample


def test_good_sources_become_samples_and_bad_ones_lines_in_the_report(packed):
    out, summary = packed
    assert summary.statuses == {"ok": 6, "unreadable": 4, "too_short": 1}
    assert summary.samples == 7 and summary.shards == 3
    assert sorted(contents(out)) == ["index.json", "report.jsonl", *(f"train-00000{i}.tar" for i in range(3))]
    report = {row.source: row for row in read_report(out)}
    assert report["clips/long.mkv"] == ReportRow("clips/long.mkv", "ok", "", 2)
    reasons = {name.split("/")[1]: row.reason for name, row in report.items() if row.status != "ok"}
    assert reasons.pop("few.mp4") == "15 frames, a clip needs 16"
    assert reasons.pop("sound.mp4") == "no video stream" and reasons.pop("empty.mp4") == "empty file"
    assert all(reason.startswith("cannot be opened") for reason in reasons.values()) and len(reasons) == 2
    assert verify(str(out)).ok


def test_records_have_every_field_and_no_path_of_this_machine(packed, pack_folder):
    out, _ = packed
    found = {record["key"]: (record, sample) for record, sample in samples(out)}
    assert len(found) == 7
    for record, sample in found.values():
        assert record.keys() == FIELD_TYPES.keys()
        frames = decode_frames(sample["mjpg"], TrackRecord(**record), range(record["frames"]))
        assert frames.shape == (record["frames"], 32, 32, 3)
        assert len(record["geometry"]["boxes"]) == record["frames"]
        assert str(pack_folder.parent).encode() not in sample["json"]
    record = next(record for record, _ in found.values() if record["source"] == "clips/good0.mp4")
    assert (record["frames"], record["fps"], record["short"]) == (33, 12.5, False)
    assert record["geometry"]["boxes"][0] == [16.0, 0.0, 64.0, 64.0] and record["geometry"]["margin"] == 0
    assert record["face_ok"] is None and (record["start_s"], record["end_s"]) == (0.0, 2.56)
    index = read_index(out)
    assert index.geometry == {"detector": "none", "size": 32, "margin": 0.0, "rotated": False}
    assert index.encoding == {"name": "jpeg", "extension": "mjpg", "quality": 85, "fps": 12.5}


def test_the_recorded_settings_are_those_of_earlier_versions(packed):
    """A run that another version began is continued only if it recorded the same."""
    crop = {"detector": "none", "detector_model": None, "size": 32, "margin": 0.15, "fps": 12.5}
    crop |= {"min_face": 48, "min_frames": 16, "max_seconds": 10.0, "largest_face": False}
    crop |= {"one_track": False, "frame_crop": None, "squeeze": False}
    others = {"encoding": "jpeg", "quality": 85, "split": "train", "val_share": 0.0, "shard_size": 128}
    others |= {"max_samples": 3, "part": "1/1", "corpus": None}
    assert read_index(packed[0]).made_by["settings"] == crop | others


def test_the_recipe_of_the_format_page_reads_the_shards(packed, capsys):
    page = (ROOT / "data_shards" / "README.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    assert "faces/train-000000.tar" in code
    exec(code.replace("faces/train-000000.tar", str(packed[0] / "train-000000.tar")), {})
    assert capsys.readouterr().out.count("(32, 32, 3)") == 3


def test_bytes_do_not_depend_on_workers_and_a_finished_folder_is_left_alone(packed, pack_folder, tmp_path):
    out, _ = packed
    again = pack([str(pack_folder)], str(tmp_path / "b"), **SMALL | {"workers": 2})
    assert not again.finished_before and contents(tmp_path / "b") == contents(out)
    before = (out / "index.json").stat().st_mtime_ns
    assert pack([str(pack_folder)], str(out), **SMALL).finished_before
    assert (out / "index.json").stat().st_mtime_ns == before


def test_other_settings_or_sources_are_refused_by_name(packed, pack_folder, tmp_path):
    out, _ = packed
    with pytest.raises(UserError, match=r"^out: .*begun with `size` 32, not 48"):
        pack([str(pack_folder)], str(out), **SMALL | {"size": 48})
    with pytest.raises(UserError, match=r"^out: .*other sources \(10 missing, such as clips/cut\.mp4"):
        pack([str(pack_folder / "good0.mp4")], str(out), **SMALL)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"^out: .*is not empty"):
        pack([str(pack_folder)], str(tmp_path), **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 33, "encoding": "h264"}, "size: 33"),
        ({"fps": 6}, "fps: 6 is less than 6.25: a clip needs 16 frames 0.16 s apart"),
        ({"quality": 101}, "quality: 101"),
        ({"val_share": 1.5}, "val_share: 1.5"),
        ({"split": "Train 1"}, "split: 'Train 1'"),
        ({"part": "3/2"}, "part: 3/2"),
        ({"part": "40/40"}, "part: 40/40 of 11 sources is empty"),
        ({"detector": "yunet"}, "detector_model: "),
        *(({name: 0}, f"{name}: 0 must be more than 0") for name in POSITIVE),
        *(({name: -1}, f"{name}: -1 must not be negative") for name in ("margin", "min_face")),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_work(pack_folder, tmp_path, options, message):
    with pytest.raises(UserError, match=f"^{message}"):
        pack([str(pack_folder)], str(tmp_path / "out"), **SMALL | options)
    assert not (tmp_path / "out").exists()


def test_all_counts_and_times_must_be_positive():
    run = {"workers", "stall_timeout", "source_timeout", "shard_size", "max_samples"}
    assert set(POSITIVE) == run | {"size", "fps", "max_seconds", "min_frames"}


def test_nothing_but_bad_sources_is_an_error(pack_folder, tmp_path):
    bad = [str(pack_folder / name) for name in ("few.mp4", "empty.mp4")]
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"no face track in any of the 2 sources \(1 unreadable, 1 too_short\)"
        ):
            pack(bad, str(tmp_path / "out"), **SMALL)
    assert len(read_report(tmp_path / "out")) == 2


def test_a_list_gives_labels_spans_splits_and_h264(pack_folder, tmp_path):
    rows = [
        {"path": "long.mkv", "start": 2, "end": 6, "label": "sad", "fold": 3, "subject": "x", "au": [1, 4]},
        {"path": "good0.mp4", "label": "happy", "split": "test"},
        {"path": "gone.mp4", "label": "angry"},
        {"path": "good1.mp4", "start": 50, "end": 60},
    ]
    path = pack_folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pack([str(path)], str(tmp_path / "out"), **SMALL | {"encoding": "h264"})
    index = read_index(tmp_path / "out")
    assert index.classes == ("angry", "happy", "sad") and index.splits == ("test", "train")
    found = {record["source"]: record for record, _ in samples(tmp_path / "out")}
    record = found["clips/long.mkv"]
    assert (record["start_s"], record["end_s"], record["frames"]) == (2.0, 6.0, 51)
    assert (record["label"], record["label_name"], record["fold"], record["subject"]) == (2, "sad", 3, "x")
    assert record["metadata"] == {"au": [1, 4]}
    reasons = [row.reason for row in read_report(tmp_path / "out")]
    assert reasons[2:] == ["cannot be opened: No such file or directory", "no frame between 50 and 60 s"]
    assert verify(str(tmp_path / "out")).ok


def test_a_hanging_decoder_is_given_up_and_the_job_goes_on(pack_folder, tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    sources = [str(tmp_path / "hangs.mp4"), str(pack_folder / "good0.mp4")]
    summary = pack(sources, str(tmp_path / "out"), **SMALL | {"stall_timeout": 1.5})
    assert summary.statuses == {"ok": 1, "unreadable": 1}
    assert read_report(tmp_path / "out")[0].reason.startswith("decoder stalled")


def test_workers_that_cannot_work_are_one_line_that_says_how_to_go_on(pack_folder, tmp_path, monkeypatch):
    failing = partial(run_jobs, command=(sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr("maedfer.data.pack.command.run_jobs", failing)
    with pytest.raises(UserError, match=r"ended with code 3 .*run the same command again to continue"):
        pack([str(pack_folder)], str(tmp_path / "out"), **SMALL)


def start_pack(pack_folder, out, limit=None, **options):
    """`pack` in a process of its own; `limit` is the largest file it may write, to act as a full disk."""
    arguments = f"{[str(pack_folder)]!r}, {str(out)!r}, **{SMALL | options!r}"
    code = f"from maedfer.data.pack.command import pack; pack({arguments})"

    def prepare():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background shell hands "ignored" down
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, preexec_fn=prepare, text=True
    )


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize("results", [1, 4, 8])
def test_killed_anywhere_it_continues_to_the_same_bytes(packed, pack_folder, tmp_path, results):
    out = tmp_path / "out"
    process = start_pack(pack_folder, out)
    wait_for(lambda: len(list(out.glob(".pack/0*.json"))) >= results or process.poll() is not None)
    process.kill()
    process.wait()
    pack([str(pack_folder)], str(out), **SMALL | {"workers": 2})
    assert contents(out) == contents(packed[0])


def test_interrupted_it_says_how_to_go_on(pack_folder, tmp_path):
    os.mkfifo(tmp_path / "hangs.mp4")
    process = start_pack(tmp_path / "hangs.mp4", tmp_path / "out")
    wait_for((tmp_path / "out" / ".pack" / "lock").exists)
    time.sleep(0.5)
    with pytest.raises(UserError, match=r"^out: another `maedfer pack` is writing into"):
        pack([str(tmp_path / "hangs.mp4")], str(tmp_path / "out"), **SMALL)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt: stopped; run the same command again to continue" in errors


def test_a_full_disk_is_one_line_and_the_next_run_gives_the_same_bytes(packed, pack_folder, tmp_path):
    out = tmp_path / "out"
    _, errors = start_pack(pack_folder, out, limit=60_000).communicate(timeout=60)
    last = errors.strip().splitlines()[-1]
    assert last.startswith("maedfer.errors.UserError: out: cannot write to")
    assert "Free some space, then run the same command again to continue" in last
    pack([str(pack_folder)], str(out), **SMALL)
    assert contents(out) == contents(packed[0])


@pytest.mark.real
def test_real_clips_give_steady_faces_and_name_the_cartoon(shared, tmp_path):
    clips = [
        str(shared / "faces" / f"{name}.mp4") for name in ("no_face", "single_face_360p", "expressive_512_a")
    ]
    model = str(shared / "models" / "yunet_n_320_320.onnx")
    pack(clips, str(tmp_path / "out"), detector="yunet", detector_model=model, size=64, workers=2)
    assert [row.status for row in read_report(tmp_path / "out")] == ["no_face", "ok", "ok"]
    for record, _ in samples(tmp_path / "out"):
        boxes = np.array(record["geometry"]["boxes"])
        tremble = np.abs(np.diff(boxes[:, :2], 2, axis=0)).max() / boxes[:, 2].mean()
        assert tremble < 0.02 and np.abs(record["geometry"]["rotation"]).max() < 15
        assert record["face_ok"] > 0.9


def test_a_part_of_the_frame_is_stored_as_it_is(tmp_path):
    # VoxCeleb2's crop, columns 32 to 192 and rows 0 to 160 of 224, at a quarter of its size
    video = write_video(tmp_path / "face.mp4", still((40, 20), size=(64, 56)), 60)
    options = {"detector": "none", "size": 40, "quality": 100, "frame_crop": (1 / 7, 0.0, 5 / 7, 5 / 7)}
    pack([str(video)], str(tmp_path / "shards"), **options)
    with pytest.raises(UserError, match=r"^out: .*was begun with `frame_crop`"):
        pack([str(video)], str(tmp_path / "shards"), **options | {"frame_crop": (0.0, 0.0, 5 / 7, 5 / 7)})
    ((record, sample),) = samples(tmp_path / "shards")
    assert record["geometry"]["boxes"][0] == [4 + 8, 0, 40, 40]
    frames = [frame.picture()[0:40, 12:52] for frame in VideoFile(video).frames()]
    assert sample["mjpg"] == encode_track(np.stack(frames), "jpeg", 25, 100).data
