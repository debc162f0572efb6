"""The way from a video to its face clips: what it yields, what it refuses, and the memory it needs."""

import math
import tracemalloc

import numpy as np
import pytest
from helpers.pack_videos import Drawn, RedSquares, scene, write_audio, write_video

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.face_tracks import NoFaceClip, read_face_tracks
from maedfer.data.video.open_video import open_video

CROP = CropSettings(size=32, margin=0.1, min_face=8)


@pytest.fixture
def red_squares(monkeypatch):
    monkeypatch.setattr("maedfer.data.faces.face_tracks.make_detector", lambda *_: RedSquares())


def test_clips_come_with_their_frames_plan_and_number(red_squares, tmp_path):
    left, right = scene(lambda t: (20, 32) if t >= 1 else None), scene(lambda _: (70, 32))
    path = write_video(tmp_path / "a.mp4", lambda t: np.maximum(left(t), right(t)), 100)
    calls = []
    clips = list(read_face_tracks(open_video(path), CROP, on_frame=lambda: calls.append(0)))
    assert [clip.number for clip in clips] == [0, 1] and len(calls) == 200
    assert [clip.plan.times[0] for clip in clips] == [0.0, pytest.approx(1.0)]
    for clip in clips:
        assert clip.frames.shape == (len(clip.plan.times), 32, 32, 3) and clip.remark == ""
        assert clip.frames[5, 16, 16, 0] > 230 and clip.frames[5, 1, 16, 0] < 100
    part = list(read_face_tracks(open_video(path), CROP, (2.0, 3.0)))
    assert [(clip.plan.times[0], clip.plan.times[-1]) for clip in part] == [(2.0, 3.0)] * 2


def test_a_video_without_a_clip_says_why(red_squares, tmp_path):
    def refusal(path, crop=CROP, span=(0.0, math.inf)):
        with pytest.raises(NoFaceClip) as caught:
            next(read_face_tracks(open_video(path), crop, span))
        assert str(caught.value) == caught.value.reason
        return caught.value.status, caught.value.reason

    path = write_video(tmp_path / "a.mp4", scene(lambda t: (48, 32) if t < 0.5 else None), 50)
    assert refusal(path) == ("too_short", "the longest face track has 11 frames, a clip needs 16")
    assert refusal(path, span=(1.0, math.inf)) == ("no_face", "no face in 1.0 s")
    assert refusal(path, span=(9.0, 10.0)) == ("unreadable", "no frame between 9 and 10 s")
    assert refusal(path, span=(0.0, 0.2)) == ("too_short", "6 frames, a clip needs 16")
    assert refusal(write_audio(tmp_path / "sound.mp4")) == ("unreadable", "no video stream")
    assert refusal(tmp_path / "gone.mp4")[1].startswith("cannot be opened")


def test_clips_that_do_not_come_a_second_time_are_reported(red_squares):
    class Forgetful(Drawn):
        passes = 0

        def frames(self, *args):
            self.passes += 1
            lost = (1.0, 1.5) if self.passes == 2 else (9, 9)
            return (frame for frame in super().frames(*args) if not lost[0] <= frame.time_s <= lost[1])

    draw = scene(lambda t: (48, 32) if t < 2 or t > 3.5 else None)
    clips = read_face_tracks(Forgetful(draw, 6), CROP)
    assert next(clips).number == 1
    with pytest.raises(NoFaceClip, match="1 tracks could not be read a second time"):
        next(clips)


def test_settings_come_from_the_geometry_of_an_index():
    geometry = {"detector": "haar", "size": 112, "margin": 0.2, "rotated": False}
    assert CropSettings.from_geometry(geometry) == CropSettings(size=112, margin=0.2)
    squeezed = {"detector": "none", "size": 160, "margin": 0.0, "rotated": False, "squeezed": True}
    assert CropSettings.from_geometry(squeezed).squeeze


def peak_bytes(draw, seconds):
    """Bytes at the peak of reading a drawn video, and the number of its clips."""
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_face_tracks(Drawn(draw, seconds), CROP))
        return tracemalloc.get_traced_memory()[1], count
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length_of_the_video(red_squares):
    coming_and_going = scene(lambda t: (48, 32) if t % 5 < 3.5 else None)
    peak_bytes(coming_and_going, 5)  # what is allocated once
    (short, few), (long, many) = peak_bytes(coming_and_going, 10), peak_bytes(coming_and_going, 120)
    assert (few, many) == (2, 24)
    # times, boxes and areas: 22 clips of 44 frames, 2750 frame times; pixels alone would be 2.9 MB
    assert long - short < 120_000, (short, long)
