"""Synthetic faces: reproducible, balanced, split by person, alike in pictures and different in movement."""

import csv
import dataclasses
import hashlib
import multiprocessing

import numpy as np
import pytest

from maedfer.__main__ import main
from maedfer.data.shards.format import read_index
from maedfer.data.synthetic.clips import SIZES, SyntheticFaces
from maedfer.data.synthetic.dataset import write_shards, write_videos
from maedfer.data.synthetic.difficulty import PRESETS, Difficulty
from maedfer.data.synthetic.drawing import HeadPose, canvas_size, face_shapes, paint
from maedfer.data.synthetic.expressions import (
    ALIKE_PAIRS,
    APEX,
    CLASSES,
    PERIOD_S,
    Performance,
    draw_performance,
    hold_pose,
)
from maedfer.data.synthetic.faces import draw_identity
from maedfer.errors import UserError
from maedfer.files import sha256

AVERAGE = Difficulty(identity=0.0, background=0.0)
"""Makes everybody the average person."""


def digest(job):
    faces, index = job
    return hashlib.sha256(faces.clip(index).frames.tobytes()).hexdigest()


def test_clips_are_a_function_of_seed_split_and_index():
    jobs = [(SyntheticFaces(size=32, difficulty=preset), index) for preset in PRESETS for index in (3, 0)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(digest, jobs[::-1])
    assert [digest(job) for job in jobs] == there[::-1]
    faces = SyntheticFaces(size=32)
    others = [dataclasses.replace(faces, seed=1), dataclasses.replace(faces, split="test")]
    assert len({digest((each, 3)) for each in (faces, *others)}) == 3


def test_labels_are_balanced_and_shuffled():
    faces = SyntheticFaces()
    labels = np.array([faces.label(index) for index in range(70)]).reshape(10, 7)
    assert (np.sort(labels, axis=1) == np.arange(7)).all()
    assert len({tuple(row) for row in labels}) > 5
    assert faces.clip(4).label == faces.label(4) and faces.clip(4).label_name == CLASSES[faces.label(4)]


def test_no_split_or_seed_shares_a_person():
    names = [
        {SyntheticFaces(seed=seed, split=split, clips_per_subject=7).subject(index) for index in range(35)}
        for seed in (0, 1)
        for split in ("train", "val", "test")
    ]
    assert all(len(each) == 5 for each in names) and len(set.union(*names)) == 30
    first = [
        SyntheticFaces(size=32, difficulty="diverse", split=split).clip(index).frames[0].mean((0, 1))
        for split in ("train", "test")
        for index in range(10)
    ]
    assert len({tuple(colour) for colour in first}) == 20


def test_one_person_plays_all_classes():
    faces = SyntheticFaces(size=32, difficulty="diverse", clips_per_subject=7, num_frames=1)
    corner = np.stack([faces.clip(index).frames[0, -4:, :4] for index in range(7)])
    skin = np.stack([faces.clip(index).frames[0, 17, 15] for index in range(7)]).astype(int)
    assert len({faces.subject(index) for index in range(7)}) == 1
    assert np.ptp(corner.astype(int), axis=0).max() < 90 and np.ptp(skin, axis=0).max() < 40


@pytest.mark.parametrize("size", [SIZES[0], 48, 64, 97, 112, SIZES[1]])
def test_every_size_shows_the_same_clip(size):
    clip = SyntheticFaces(size=size, num_frames=3).clip(5)
    assert clip.frames.shape == (3, size, size, 3) and clip.frames.dtype == np.uint8
    cells = (np.linspace(0, size, 5)[:, None] + [0, size / 4]).astype(int)[:4]
    coarse = np.array([[clip.frames[0, a:b, c:d].mean((0, 1)) for c, d in cells] for a, b in cells])
    small = SyntheticFaces(size=32, num_frames=1).clip(5).frames[0].reshape(4, 8, 4, 8, 3).mean((1, 3))
    assert np.abs(coarse - small).max() < 11


def test_time_is_in_seconds_whatever_the_rate():
    slow = SyntheticFaces(size=48, difficulty="messy", num_frames=4, fps=6.25)
    slow = dataclasses.replace(slow, difficulty=dataclasses.replace(PRESETS["messy"], noise=0.0))
    fast = dataclasses.replace(slow, num_frames=7, fps=12.5)
    assert (fast.clip(2).frames[::2] == slow.clip(2).frames).all()


def test_an_episode_starts_at_rest_spans_a_clip_and_repeats():
    for label, name in enumerate(CLASSES):
        playing = draw_performance(label, PRESETS["clean"], np.random.default_rng(label))
        level = playing.level(np.arange(0, 2 * PERIOD_S, 0.01))
        assert level[0] == 0 and 0.9 < level[:240].max() < 1.2, name
        assert level[330:360].max() == 0 and np.allclose(level[:360], level[360:]), name


@pytest.mark.parametrize("pair", ALIKE_PAIRS)
def test_pairs_look_alike_at_the_apex(pair):
    person = draw_identity(AVERAGE, np.random.default_rng(0))
    still = HeadPose(*np.zeros((6, 1)))._replace(scale=np.ones(1))
    behind = np.zeros((canvas_size(64), canvas_size(64), 3), np.uint8)
    apex = {
        name: paint(face_shapes(person, hold_pose(APEX[name], 1), 0.0), still, behind, 64)[0].astype(int)
        for name in CLASSES
    }
    one, other = pair
    strangers = [np.abs(apex[one] - apex[name]).mean() for name in CLASSES if name not in pair]
    assert np.abs(apex[one] - apex[other]).mean() < 0.5 * min(strangers)


@pytest.mark.parametrize("pair", ALIKE_PAIRS)
def test_pairs_move_differently(pair):
    """The first of a pair is up before the second has begun and lets go while the second stays."""
    times = np.linspace(0, 2.4, 16)
    for draw in range(20):
        quick, slow = (
            draw_performance(CLASSES.index(name), PRESETS["clean"], np.random.default_rng(draw)).level(times)
            for name in pair
        )
        assert np.diff(quick).max() > 1.5 * np.diff(slow).max()
        assert quick[-1] < 0.5 < 0.8 < slow[-1]


def test_difficulty_buries_the_expression():
    def signal(preset):
        """Change that the class explains against change that it does not, over several people."""
        faces = SyntheticFaces(size=32, num_frames=2, fps=1 / 2.4, difficulty=preset)
        clips = sorted((faces.clip(index) for index in range(35)), key=lambda clip: clip.label)
        change = np.stack([np.subtract(*clip.frames.astype(float)) for clip in clips]).reshape(7, 5, -1)
        return change.mean(axis=1).var(axis=0).mean() / change.var(axis=1).mean()

    clean, diverse, messy = (signal(preset) for preset in ("clean", "diverse", "messy"))
    assert clean > 1.5 * diverse and diverse > 1.5 * messy


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: SyntheticFaces(size=16), "size: 16"),
        (lambda: SyntheticFaces(fps=0), "^fps: 0"),
        (lambda: SyntheticFaces(num_frames=0), "^num_frames: 0"),
        (lambda: SyntheticFaces(seed=-1), "^seed: -1"),
        (lambda: SyntheticFaces(difficulty="hard"), "clean, diverse, messy"),
        (lambda: Difficulty(noise=-1), "noise=-1"),
        (lambda: Difficulty(jpeg=101), "jpeg=101"),
        (lambda: Difficulty(intensity=(1.0, 0.5)), "intensity"),
        (lambda: SyntheticFaces().clip(-1), "-1"),
    ],
)
def test_settings_without_meaning_are_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ("--clips -1", "--clips"),
        ("--test-clips -1", "--test-clips"),
        ("--clips 0", "--clips"),
        ("--seconds 0", "--seconds"),
        ("--fps 0", "--fps"),
        ("--seed -1", "--seed"),
        ("--size 33", "--size"),
    ],
)
def test_the_command_line_names_the_flag_to_change(flags, flag, tmp_path, capsys):
    assert main(["synthesize", "--out", str(tmp_path / "a"), *flags.split()]) == 2
    assert capsys.readouterr().err.startswith(f"maedfer synthesize: {flag}: ")


def test_shards_do_not_depend_on_the_workers_and_say_synthetic(tmp_path):
    faces = SyntheticFaces(size=32, num_frames=4, fps=12.5)
    counts = {"train": 5, "test": 2}
    index = write_shards(tmp_path / "a", faces, counts, samples_per_shard=3, workers=1)
    again = write_shards(tmp_path / "b", faces, counts, samples_per_shard=3, workers=2)
    assert index == again == read_index(tmp_path / "a")
    assert [(entry.name, entry.samples) for entry in index.shards] == [
        ("train-000000.tar", 3),
        ("train-000001.tar", 2),
        ("test-000000.tar", 2),
    ]
    assert sha256(tmp_path / "a" / "test-000000.tar") == index.shards[-1].sha256
    assert index.classes == CLASSES and index.made_by["settings"]["synthetic"]
    with pytest.raises(UserError, match=r"index\.json"):
        write_shards(tmp_path / "a", faces, counts)


def test_shard_samples_decode_to_the_drawn_clip(tmp_path):
    import json
    import tarfile

    from maedfer.data.shards.encoding import decode_frames
    from maedfer.data.shards.records import TrackRecord

    faces = SyntheticFaces(size=48, num_frames=6, fps=12.5)
    write_shards(tmp_path, faces, {"val": 2}, labelled=False, quality=95, workers=1)
    with tarfile.open(tmp_path / "val-000000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    names = sorted(members)
    meta = json.loads(members[names[0]])
    frames = decode_frames(members[names[1]], TrackRecord(**meta), range(6))
    drawn = dataclasses.replace(faces, split="val").clip(int(meta["source"][-6:])).frames
    assert np.abs(frames.astype(int) - drawn).mean() < 3
    assert meta["label"] is None and meta["metadata"] == {"synthetic": True} and meta["short"]


def test_videos_come_with_a_list(tmp_path):
    import av

    faces = SyntheticFaces(size=64, num_frames=5, fps=12.5)
    path = write_videos(tmp_path, faces, {"train": 2, "test": 1}, workers=1)
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["path"], row["split"]) for row in rows] == [
        ("train/000000.mp4", "train"),
        ("train/000001.mp4", "train"),
        ("test/000000.mp4", "test"),
    ]
    assert rows[0]["label"] == CLASSES[faces.label(0)] and rows[0]["subject"] == faces.subject(0)
    with av.open(str(tmp_path / rows[0]["path"])) as video:
        stream = video.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(stream)])
        assert float(stream.average_rate) == 12.5 and stream.codec_context.pix_fmt == "yuv420p"
    assert np.abs(frames.astype(int) - faces.clip(0).frames).mean() < 6


def test_intensity_scales_the_movement():
    times = np.linspace(0, 2.4, 16)
    weak, strong = (Performance(0, size, 0.3, 0.4, 1.5, 0.5).curves(times).smile for size in (0.5, 1.0))
    assert np.allclose(2 * weak, strong) and strong.max() > 0.9
