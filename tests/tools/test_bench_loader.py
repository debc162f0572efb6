"""The loader bench runs for real on two tiny videos; its arithmetic is compared with numbers made by hand."""

import json
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from maedfer.errors import UserError

pytestmark = pytest.mark.long

TOOLS = Path(__file__).resolve().parents[2] / "tools"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = {"tracks": 2, "track-seconds": 3, "samples": 8, "seconds": 0.02, "rounds": 1, "memory-clips": 80}


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """What the command printed, and its folder."""
    pytest.importorskip("decord")
    out = tmp_path_factory.mktemp("bench")
    words = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, str(TOOLS / "bench.py"), "loader", "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def rows(bench, name):
    return json.loads((bench[1] / f"{name}.json").read_text())["rows"]


def test_every_way_is_measured_with_its_ratio_and_its_difference(bench):
    table = {(row["way"], row["workers"]): row for row in rows(bench, "loader")}
    views = ("", ", 2 clips per sample", ", 4 clips per sample")
    ours = [encoding + several for encoding in ("jpeg", "h264") for several in views]
    assert set(table) == {(way, n) for way in ["plain", *ours] for n in (0, 1)} | {("crop and normalise", 0)}
    prepare = table["crop and normalise", 0]["per_core"]
    for way in ours:
        for workers in (0, 1):
            row, plain = table[way, workers], table["plain", workers]
            assert row["core_ratio"] == pytest.approx(row["per_core"] / plain["per_core"])
            assert row["second_ratio"] == pytest.approx(row["per_second"] / plain["per_second"])
            assert 1 / row["whole_per_core"] == pytest.approx(1 / row["per_core"] + 1 / prepare)
            assert row["apart_ms"] == pytest.approx(0, abs=1e-6)
            assert 28 < row["psnr_db"] < 50 and 0 < row["levels"] < 8
    assert table["plain", 1]["core_ratio"] == 1 and table["plain", 1]["whole_ratio"] == 1


def test_encodings_trade_bytes_for_loss(bench):
    *stored, source = rows(bench, "loader_encodings")
    at_rate = [row for row in stored if "160 px, 12.5 fps" in row["stored_as"]]
    for encoding, order in (("jpeg", 1), ("h264", -1)):
        ranked = [row for row in at_rate if row["stored_as"].startswith(encoding)][::order]
        assert len(ranked) > 2
        for key in ("kib_per_s", "psnr_db"):
            values = [row[key] for row in ranked]
            assert values == sorted(values) and values[0] < values[-1]
    assert all(row["clips_per_s_1"] > 0 and row["clips_per_s_4"] > 0 for row in [*stored, source])
    sizes = [video.stat().st_size for video in bench[1].glob("loader/drawn-*s-????????/*.mp4")]
    assert len(sizes) == 2 and source["kib_per_s"] == pytest.approx(sum(sizes) / 6 / 1024)
    assert source["psnr_db"] is None


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="only Linux tells the memory")
def test_memory_is_watched_while_a_worker_reads(bench):
    table = {(row["shards"], row["process"]): row for row in rows(bench, "loader_memory")}
    assert set(table) == {(shards, who) for shards in ("jpeg", "h264") for who in ("worker", "main")}
    for row in table.values():
        assert row["clips"] == 80 and row["points"]["clips"] == list(range(8, 81, 8))
        assert 20 < row["last_uss"] <= row["last_pss"] <= row["last_rss"]


def test_tables_and_figure_say_that_faces_are_synthetic(bench):
    printed, out = bench
    assert "synthetic faces" in printed and "| jpeg, quality 85, 160 px, 12.5 fps" in printed
    assert Image.open(out / "loader.png").size[0] > 500


def test_videos_are_kept_until_a_setting_changes(tmp_path):
    from benchmarks.face_videos import face_videos

    first = face_videos(tmp_path, None, 1, 3.0)
    again = face_videos(tmp_path, None, 1, 3.0)
    assert again == first and len(list(tmp_path.iterdir())) == 1
    assert face_videos(tmp_path, first[0].parent, 1, 4.0)[0].parent != first[0].parent


def test_a_short_video_is_played_forth_and_back():
    from benchmarks.face_videos import forth_and_back

    assert forth_and_back(3, 9).tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert forth_and_back(9, 3).tolist() == [0, 1, 2]


@pytest.fixture
def numbered(tmp_path):
    """A folder with a video that is as bright in frame n as 30 + 2n."""
    from benchmarks.face_videos import write_video

    (tmp_path / "videos").mkdir()
    shades = 30 + 2 * np.arange(80, dtype=np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (80, 224, 224, 3))
    write_video(tmp_path / "videos" / "bright.mp4", np.ascontiguousarray(frames))
    return tmp_path / "videos"


def levels(clip):
    """Mean level (T,) of the frames of a normalised clip (3, T, H, W)."""
    pixels = torch.stack([clip[channel] * STD[channel] + MEAN[channel] for channel in range(3)])
    return 255 * pixels.mean(dim=(0, 2, 3)).numpy()


def test_the_plain_way_takes_every_fourth_frame_from_a_random_one(numbered):
    pytest.importorskip("decord")
    from benchmarks.loader_rates import MASKS
    from benchmarks.plain_loader import PlainClips

    clips = PlainClips([numbered / "bright.mp4"], 12, MASKS)
    starts = Counter()
    for index in range(len(clips)):
        shown = levels(clips[index].clips)
        start = round((shown[0] - 30) / 2)
        np.testing.assert_allclose(shown, 30 + 2 * (start + 4 * np.arange(16)), atol=2.5)
        starts[start] += 1
    assert set(starts) <= set(range(17)) and len(starts) > 3  # 80 frames leave 17 starts of 64
    assert clips[0].clips.shape == (3, 16, 160, 160) and int(clips[0].masks.sum()) == 720


def test_the_plain_clip_is_the_crop_resized_and_normalised_by_hand():
    """Halving with PIL's bilinear filter weighs four neighbours 1, 3, 3, 1 along each axis."""
    from benchmarks.plain_loader import plain_clip

    pictures = np.random.default_rng(0).integers(0, 256, (16, 330, 326, 3), dtype=np.uint8)
    clip = plain_clip([Image.fromarray(picture) for picture in pictures], (4, 6, 324, 326)).numpy()
    crop = pictures[:, 6:326, 4:324].astype(np.float64)
    for axis in (1, 2):
        padded = np.moveaxis(crop, axis, 0)
        inner = np.stack([padded[2 * i - 1 : 2 * i + 3] for i in range(1, 159)])
        crop = np.moveaxis(np.einsum("ik...,k->i...", inner, [1 / 8, 3 / 8, 3 / 8, 1 / 8]), 0, axis)
    expected = np.moveaxis((crop / 255 - MEAN) / STD, -1, 0)
    error = np.abs(clip[:, :, 1:159, 1:159] - expected) * np.reshape(STD, (3, 1, 1, 1)) * 255
    assert error.max() < 1.1  # PIL rounds to whole levels after each axis


def test_multi_scale_crops_are_upstreams():
    from benchmarks.plain_loader import multi_scale_borders

    rng = np.random.default_rng(0)
    seen = Counter(multi_scale_borders(rng, 160, 160) for _ in range(20_000))
    sides = (160, 140, 120, 105)  # int(160 * 0.66) = 105
    places = ["00", "40", "04", "44", "22", "02", "42", "24", "20", "11", "31", "13", "33"]
    expected = set()
    for (i, wide), (j, high), place in product(enumerate(sides), enumerate(sides), places):
        if abs(i - j) <= 1:
            x, y = int(place[0]) * ((160 - wide) // 4), int(place[1]) * ((160 - high) // 4)
            expected.add((x, y, x + wide, y + high))
    assert set(seen) == expected


@pytest.fixture
def shards(numbered):
    from maedfer.data.pack.command import pack

    pack([str(numbered)], str(numbered.parent / "shards"), detector="none", size=160, workers=1)
    return numbered.parent / "shards"


def rewritten(shards, changes):
    """The shards with other values in their records."""
    from benchmarks.bench_shards import samples_of

    from maedfer.data.shards.format import read_index, write_index, write_shard
    from maedfer.files import dump_json

    (sample,) = samples_of(shards)
    changed = {**sample, "json": dump_json(json.loads(sample["json"]) | changes)}
    index = read_index(shards)
    write_index(shards, type(index)((write_shard(shards / "train-000000.tar", [changed]),)))
    return shards


def test_the_difference_sees_a_shift_in_time_and_another_rate(numbered, shards):
    pytest.importorskip("decord")
    from benchmarks.clip_difference import clip_difference

    videos = [numbered / "bright.mp4"]
    right = clip_difference(shards, videos)
    assert right["levels"] < 1.5 and right["apart_ms"] == pytest.approx(0, abs=1e-6)
    late = clip_difference(rewritten(shards, {"start_s": 0.2}), videos)  # 5 frames of 2 levels
    assert late["levels"] == pytest.approx(10, abs=1.5)
    slow = clip_difference(rewritten(shards, {"start_s": 0.0, "fps": 12.0}), videos)
    assert slow["apart_ms"] > 30


def test_lengthened_shards_repeat_tracks_under_names_of_their_own(shards):
    from benchmarks.bench_shards import lengthened, samples_of
    from benchmarks.loader_rates import our_batches

    long = lengthened(shards, 3, 10)
    assert (long / "train-000000.tar").stat().st_size < 4 * (shards / "train-000000.tar").stat().st_size
    assert len(samples_of(long)) == 12 and len({sample["__key__"] for sample in samples_of(long)}) == 3
    batches = list(our_batches(long, 4, 1, workers=0))
    assert [len(batch.clips) for batch in batches] == [4, 4, 4]
    assert len(set(batches[0].starts + batches[1].starts)) > 1


def test_psnr_and_slope_by_hand():
    from benchmarks.clip_difference import psnr
    from benchmarks.memory import slope

    assert psnr(1.0) == pytest.approx(48.1308, abs=1e-3) and psnr(255.0**2) == pytest.approx(0)
    clips = [1000, 2000, 3000, 4000, 5000]
    assert slope(clips, [900, 12, 14, 16, 18]) == pytest.approx(2)  # the first quarter does not count
    assert slope([1000], [3.0]) is None


def test_a_rate_leaves_the_start_out_and_tells_waiting_from_work():
    from benchmarks.clip_rate import loader_rate

    closed = []

    def batches():
        try:
            time.sleep(0.3)
            while True:
                yield SimpleNamespace(clips=[0] * 4)
                time.sleep(0.02)
        finally:
            closed.append(True)

    rate = loader_rate(batches(), 0.2, workers=0)
    assert 20 < rate.wall <= 200  # with the start it would be below 100 at best
    assert rate.core > 2 * rate.wall  # sleeping takes no time on a core
    assert closed == [True]


def test_a_busy_child_counts_as_time_on_a_core():
    pytest.importorskip("resource")
    if not Path("/proc/self/stat").is_file():
        pytest.skip("only Linux tells the time of a child")
    code = (
        "import multiprocessing as m, time\n"
        "from benchmarks.clip_rate import cpu_seconds\n"
        "def burn():\n"
        "    while True: pass\n"
        "child = m.get_context('fork').Process(target=burn, daemon=True)\n"
        "own = time.process_time(); child.start(); before = cpu_seconds(); time.sleep(1)\n"
        "print(cpu_seconds() - before - (time.process_time() - own))\n"
        "child.kill()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TOOLS, capture_output=True, text=True, timeout=60, check=True
    )
    assert 0.2 < float(done.stdout) < 1.3


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"batch_size": 6}, "batch_size: 6 must be a multiple of 4"),
        ({"tracks": 0}, "tracks: 0 must be 1 or more"),
        ({"videos": Path("nowhere")}, "videos: nowhere is not a folder"),
        ({"rounds": 0}, "rounds: 0 must be 1 or more"),
        ({"seconds": 0.0}, "seconds: 0.0 must be positive"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(setting, complaint, tmp_path):
    from benchmarks.loader import loader

    with pytest.raises(UserError, match=complaint):
        loader(out=tmp_path, **setting)
    assert not list(tmp_path.iterdir())
