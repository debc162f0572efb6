"""Folders of images are read like videos: order, time, sizes, what is broken, and all the way into shards."""

import json

import cv2
import numpy as np
import pytest

from maedfer.__main__ import main
from maedfer.data.pack.command import pack
from maedfer.data.pack.merge import merge
from maedfer.data.pack.report import read_report
from maedfer.data.pack.sources import find_sources
from maedfer.data.shards.encoding import decode_frames
from maedfer.data.shards.format import read_index, read_shard
from maedfer.data.shards.records import TrackRecord
from maedfer.data.shards.verify import verify
from maedfer.data.video.image_folder import ImageFolder, folder_fingerprint, has_frames
from maedfer.data.video.video_file import UnreadableVideo
from maedfer.errors import UserError


def grey(level, size=(40, 40)):
    return np.full((*size, 3), level, np.uint8)


def write(folder, names, levels=None, size=(40, 40)):
    folder.mkdir(parents=True)
    for position, name in enumerate(names):
        level = 10 * position % 250 if levels is None else levels[position]
        cv2.imwrite(str(folder / name), grey(level, size))
    return folder


def samples(shards):
    for entry in read_index(shards).shards:
        for sample in read_shard(shards / entry.name):
            yield json.loads(sample["json"]), sample


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    names = [f"{number}.png" for number in range(1, 13)]
    folder = write(tmp_path / "clip", names)
    (folder / "._1.png").write_bytes(b"resource fork")
    (folder / "Thumbs.db").write_bytes(b"x")
    frames = list(ImageFolder(folder, fps=10).frames())
    assert [frame.pixels[0, 0, 0] for frame in frames] == [10 * i for i in range(12)]
    assert [frame.time_s for frame in frames] == pytest.approx([i / 10 for i in range(12)])
    assert [frame.time_s for frame in ImageFolder(folder, 10).frames((0.3, 0.5))] == pytest.approx(
        [0.3, 0.4, 0.5]
    )


def test_colours_and_reduced_pictures(tmp_path):
    red = grey(0, (20, 60))
    red[..., 2] = 200  # OpenCV writes blue, green, red
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "1.PNG"), red)
    (frame,) = ImageFolder(tmp_path / "a").frames()
    assert (frame.width, frame.height) == (60, 20) and frame.pixels[5, 5].tolist() == [200, 0, 0]
    assert frame.picture(30).shape == (10, 30, 3) and frame.picture(100).shape == (20, 60, 3)
    assert frame.thumbnail().shape == (32, 48, 3)


def test_broken_images_are_left_out_and_counted(tmp_path):
    folder = write(tmp_path / "clip", [f"{i:03d}.jpg" for i in range(8)])
    (folder / "002.jpg").write_bytes(b"")
    (folder / "004.jpg").write_bytes((folder / "003.jpg").read_bytes()[:-40])
    (folder / "006.jpg").write_text("not an image")
    video = ImageFolder(folder)
    for _ in range(2):
        frames = list(video.frames())
        assert video.damaged == 3 and [round(25 * frame.time_s) for frame in frames] == [0, 1, 2, 3, 4]
        assert [int(frame.pixels.mean()) // 10 for frame in frames] == [0, 1, 3, 5, 7]
    assert len(list(video.frames((0.08, 9)))) == 3


def test_an_image_of_another_size_is_stretched(tmp_path):
    folder = write(tmp_path / "clip", ["1.png", "2.png"])
    cv2.imwrite(str(folder / "2.png"), grey(90, (64, 48)))
    assert [frame.pixels.shape for frame in ImageFolder(folder).frames()] == [(40, 40, 3)] * 2


def test_a_folder_without_images_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    assert not has_frames(tmp_path / "a") and not has_frames(tmp_path / "none")
    with pytest.raises(UnreadableVideo, match="no image in the folder"):
        next(ImageFolder(tmp_path / "a").frames())
    with pytest.raises(UnreadableVideo, match="cannot be opened: No such file"):
        next(ImageFolder(tmp_path / "none").frames())


def test_folders_of_one_name_have_other_fingerprints(tmp_path):
    names = ["1.png", "2.png", "3.png"]
    one, same = write(tmp_path / "x" / "clip", names), write(tmp_path / "y" / "clip", names)
    other = write(tmp_path / "z" / "clip", names, [0, 10, 21])
    assert folder_fingerprint(one) == folder_fingerprint(same) != folder_fingerprint(other)


def test_sources_are_folders_of_images_where_there_is_no_video(tmp_path):
    write(tmp_path / "set" / "a" / "clip1", ["1.jpg"])
    write(tmp_path / "set" / "clip2", ["1.jpg"])
    assert [source.name for source in find_sources([tmp_path / "set"])] == ["set/a/clip1", "set/clip2"]
    assert [source.name for source in find_sources([tmp_path / "set" / "clip2"])] == ["clip2"]
    assert [source.name for source in find_sources([f"{tmp_path}/set/*"])] == ["set/clip2"]
    (tmp_path / "set" / "film.mp4").touch()  # then the images are covers of videos
    assert [source.name for source in find_sources([tmp_path / "set"])] == ["set/film.mp4"]


def test_a_list_names_folders_and_their_rate(tmp_path):
    write(tmp_path / "clip", ["1.jpg"])
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text("path,label,fps\nclip,x,30\na.mp4,y,30\n")
    folder, video = find_sources([tmp_path / "list.csv"])
    assert (folder.fps, folder.metadata) == (30, {}) and (video.fps, video.metadata) == (25, {"fps": "30"})
    for rate in ("fast", "0", "-1", "inf", "nan"):
        (tmp_path / "list.csv").write_text(f"path,fps\nclip,{rate}\n")
        with pytest.raises(UserError, match=f"line 2: fps '?{rate}"):
            find_sources([tmp_path / "list.csv"])


def test_folders_are_packed_frame_by_frame(tmp_path):
    """Ramps of grey levels come out in order: a long one, a short one, and one of a single frame."""
    levels = {"long": list(range(0, 210, 3)), "short": list(range(0, 200, 10)), "one": [77]}
    for name, each in levels.items():
        write(tmp_path / "set" / name, [f"{i:04d}.png" for i in range(len(each))], each)
    (tmp_path / "set" / "long" / "0005.png").write_bytes(b"broken")
    options = {"detector": "none", "size": 32, "workers": 1, "quality": 95}
    out = tmp_path / "shards"
    summary = pack([str(tmp_path / "set")], str(out), fps=25, min_frames=1, **options)
    assert summary.statuses == {"ok": 3} and verify(str(out)).ok
    reasons = {row.source: row.reason for row in read_report(out)}
    assert reasons == {"set/long": "1 damaged images left out", "set/one": "", "set/short": ""}
    for record, sample in samples(out):
        each = levels[record["source"].split("/")[1]]
        frames = decode_frames(sample["mjpg"], TrackRecord(**record), range(record["frames"]))
        seen = frames.mean(axis=(1, 2, 3))
        if record["source"] == "set/long":
            each = each[:5] + each[6:]
        assert record["fps"] == 25 and seen == pytest.approx(each, abs=1.5)
    with pytest.raises(UserError, match=r"^out: .*begun with `min_frames` 1, not 16"):
        pack([str(tmp_path / "set")], str(out), fps=25, **options)
    usual = pack([str(tmp_path / "set")], str(tmp_path / "usual"), **options)
    assert usual.statuses == {"ok": 2, "too_short": 1}
    assert sorted(record["fps"] for record, _ in samples(tmp_path / "usual")) == [12.5, 25]


def test_a_frame_that_is_no_square_is_squeezed_or_cut(tmp_path):
    """Squeezed, as upstream resizes face frames, it is what OpenCV makes of the whole picture."""
    rows, columns = np.mgrid[0:80, 0:120]
    picture = np.stack([rows * 3, columns * 2, (rows + columns) % 97], axis=-1).astype(np.uint8)
    (tmp_path / "set" / "clip").mkdir(parents=True)
    for i in range(16):
        cv2.imwrite(str(tmp_path / "set" / "clip" / f"{i}.png"), picture[..., ::-1])
    wanted = {
        "squeezed": (picture, [0, 0, 120, 80]),
        "cut": (picture[:, 20:100], [20, 0, 80, 80]),
        "part": (picture[20:60, 30:90], [30, 20, 60, 40]),
    }
    flags = {"squeezed": {"squeeze": True}, "part": {"squeeze": True, "frame_crop": (0.25, 0.25, 0.5, 0.5)}}
    for name, (area, box) in wanted.items():
        options = {"detector": "none", "size": 40, "workers": 1, "quality": 100, **flags.get(name, {})}
        pack([str(tmp_path / "set")], str(tmp_path / name), **options)
        ((record, sample),) = samples(tmp_path / name)
        frame = decode_frames(sample["mjpg"], TrackRecord(**record), [0])[0].astype(int)
        assert np.abs(frame - cv2.resize(area, (40, 40), interpolation=cv2.INTER_AREA)).mean() < 2.5
        assert record["geometry"]["boxes"][0] == box
        assert ("squeezed" in read_index(tmp_path / name).geometry) == (name in flags)
    with pytest.raises(UserError, match="differ in geometry: squeezed True and None"):
        merge([str(tmp_path / "squeezed"), str(tmp_path / "cut")], str(tmp_path / "both"))
    with pytest.raises(UserError, match=r"^out: .*begun with `squeeze` True, not False"):
        pack(
            [str(tmp_path / "set")],
            str(tmp_path / "squeezed"),
            **options | {"squeeze": False, "frame_crop": None},
        )
    with pytest.raises(UserError, match=r"^squeeze: .*haar"):
        pack([str(tmp_path / "set")], str(tmp_path / "x"), squeeze=True)


def test_only_the_longest_track_may_be_kept(tmp_path, capsys):
    write(tmp_path / "set" / "clip", [f"{i:04d}.jpg" for i in range(90)])
    words = ["pack", str(tmp_path / "set"), "--detector", "none", "--size", "32", "--workers", "1"]
    words += ["--max-seconds", "2"]
    assert main([*words, "--out", str(tmp_path / "all")]) == 0
    assert main([*words, "--out", str(tmp_path / "one"), "--one-track", "--largest-face"]) == 0
    said = capsys.readouterr().out
    assert "packed 2 tracks of 1 sources" in said and "packed 1 tracks of 1 sources" in said


def test_a_folder_that_an_earlier_version_finished_is_left_alone(tmp_path):
    write(tmp_path / "set" / "clip", [f"{i:04d}.jpg" for i in range(20)])
    options = {"detector": "none", "size": 32, "workers": 1}
    out = tmp_path / "shards"
    pack([str(tmp_path / "set")], str(out), **options)
    index = json.loads((out / "index.json").read_text())
    for name in ("one_track", "min_frames", "squeeze", "corpus"):
        del index["made_by"]["settings"][name]
    (out / "index.json").write_text(json.dumps(index))
    assert pack([str(tmp_path / "set")], str(out), **options).finished_before
