import numpy as np
import pytest
from helpers.pack_videos import promise_frames, scene, still, turn_display, write_audio, write_video

from maedfer.data.video.video_file import UnreadableVideo, VideoFile


def test_every_frame_with_its_time_also_behind_sound(tmp_path):
    path = write_video(tmp_path / "a.mp4", still(), 30, fps=30000 / 1001, audio_first=True)
    frames = list(VideoFile(path).frames())
    assert [frame.time_s for frame in frames] == pytest.approx(
        [i * 1001 / 30000 for i in range(30)], abs=2e-4
    )
    assert frames[0].picture().shape == (64, 96, 3)
    assert np.abs(frames[3].picture()[32, 48].astype(int) - [250, 60, 60]).max() < 25


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mpeg4"), (".mkv", "libvpx"), (".mov", "mjpeg")])
def test_other_codecs_and_containers(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"a{suffix}", still(), 20, codec=codec)
    times = [frame.time_s for frame in VideoFile(path).frames()]
    assert times == pytest.approx([i / 25 for i in range(20)], abs=2e-3)


def test_variable_rate_is_read_from_the_timestamps(tmp_path):
    times = [0, 0.04, 0.08, 0.5, 0.52, 1.3]
    path = write_video(tmp_path / "a.mkv", still(), times)
    assert [frame.time_s for frame in VideoFile(path).frames()] == pytest.approx(times, abs=2e-3)


def test_a_phone_video_stands_upright(tmp_path):
    path = turn_display(write_video(tmp_path / "a.mp4", still(), 3))
    frame = next(VideoFile(path).frames())
    picture = frame.picture()
    assert (frame.width, frame.height) == (64, 96) and picture.shape == (96, 64, 3)
    # the white upper left corner of the square is at its upper right after a quarter turn clockwise
    assert picture[38, 41].min() > 180 and picture[38, 22].min() < 120
    assert frame.picture(max_side=48).shape == (48, 32, 3)


def test_a_span_starts_and_ends_where_asked(tmp_path):
    path = write_video(tmp_path / "a.mp4", scene(lambda t: (20 + 10 * t, 32)), 125)
    frames = list(VideoFile(path).frames((2.0, 3.0)))
    assert [frames[0].time_s, frames[-1].time_s] == [2.0, 3.0] and len(frames) == 26
    red = frames[0].picture()[32, :, 0] > 180
    assert np.flatnonzero(red).mean() == pytest.approx(40, abs=2)


def test_a_container_that_promises_more_frames_is_read_to_its_end(tmp_path):
    path = promise_frames(write_video(tmp_path / "a.mp4", still(), 30), 3000)
    video = VideoFile(path)
    assert len(list(video.frames())) <= 30


def test_a_damaged_stretch_is_left_out(tmp_path):
    path = write_video(tmp_path / "a.avi", still(), 60, codec="mjpeg")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    assert 40 <= len(list(VideoFile(path).frames())) <= 60


def test_a_file_cut_short_gives_what_is_left(tmp_path):
    path = write_video(tmp_path / "a.mkv", still(), 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 <= len(list(VideoFile(path).frames())) < 100  # how many fit depends on the encoder's threads


@pytest.mark.parametrize("kind", ["empty", "noise", "audio", "missing", "no_index"])
def test_what_is_no_video_says_why(tmp_path, kind):
    path = tmp_path / "a.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 40)
    elif kind == "audio":
        write_audio(path)
    elif kind == "no_index":
        write_video(path, still(), 50)
        path.write_bytes(path.read_bytes()[:-400])  # the index of an mp4 is at its end
    reason = {"empty": "empty file", "audio": "no video stream"}.get(kind, "cannot be opened")
    with pytest.raises(UnreadableVideo, match=reason):
        list(VideoFile(path).frames())
