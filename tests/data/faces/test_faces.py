import numpy as np
import pytest
from helpers.pack_videos import Drawn, RedSquares, scene, still, write_video

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.crops import CropPlan, cut_area, cut_crops, plan_crops, stored_times
from maedfer.data.faces.detectors import Detection, make_detector, overlap, suppress
from maedfer.data.faces.shots import shot_changed
from maedfer.data.faces.tracks import FaceTracker, follow_faces, largest_at_a_time, smooth_curve
from maedfer.data.pack.job import Job
from maedfer.data.pack.one_source import pack_source
from maedfer.data.pack.settings import StoreSettings
from maedfer.data.video.source import Source
from maedfer.data.video.video_file import VideoFile
from maedfer.errors import UserError


def follow(tmp_path, draw, frames=75, **options):
    path = write_video(tmp_path / "a.mp4", draw, frames)
    return follow_faces(VideoFile(path).frames(), RedSquares(**options))


def test_a_moving_face_is_one_track_that_the_crops_follow(tmp_path):
    path = write_video(tmp_path / "a.mp4", scene(lambda t: (20 + 18 * t, 32)), 75)
    tracks, times = follow_faces(VideoFile(path).frames(), RedSquares())
    assert len(tracks) == 1 and (tracks[0].start_s, tracks[0].end_s) == (0.0, times[-1])
    (plan,) = plan_crops(tracks[0], times, CropSettings(margin=0.5))
    assert plan.fps == 12.5 and plan.face_ok == 1.0 and len(plan.times) == 38
    ((number, crops),) = cut_crops(VideoFile(path).frames(), [plan], 48)
    assert number == 0 and crops.shape == (38, 48, 48, 3)
    for crop in crops[2:-2]:  # a square of 24 in a box of 48: centred, 12 pixels from each side
        rows, columns = np.nonzero((crop[..., 0] > 180) & (crop[..., 1] < 120))
        assert np.mean(columns) == pytest.approx(23.5, abs=2) and np.mean(rows) == pytest.approx(23.5, abs=2)


def test_two_faces_are_two_tracks_from_left_to_right(tmp_path):
    left, right = scene(lambda _: (20, 32)), scene(lambda _: (70, 32))
    tracks, _ = follow(tmp_path, lambda t: np.maximum(left(t), right(t)))
    assert [track.boxes[0, 0] < 48 for track in tracks] == [True, False]


def test_only_the_largest_face_of_a_time_may_be_kept(tmp_path):
    small = scene(lambda t: (20, 32) if t < 3 else None, face=16)
    large = scene(lambda t: (70, 32) if t < 1.5 else None)
    late = scene(lambda t: (48, 32) if t >= 4 else None, face=12)
    tracks, _ = follow(tmp_path, lambda t: np.maximum(np.maximum(small(t), large(t)), late(t)), 150)
    assert len(tracks) == 3
    assert [track.start_s for track in largest_at_a_time(tracks)] == [0.0, pytest.approx(4, abs=0.21)]
    assert [track.boxes[0, 0] > 48 for track in largest_at_a_time(tracks)] == [True, False]


@pytest.mark.parametrize(("largest_face", "tracks"), [(False, 2), (True, 1)])
def test_a_source_of_two_faces_may_give_one_sample_at_a_time(tmp_path, monkeypatch, largest_face, tracks):
    small, large = scene(lambda _: (20, 32), face=16), scene(lambda _: (70, 32))
    path = write_video(tmp_path / "a.mp4", lambda t: np.maximum(small(t), large(t)), 75)
    monkeypatch.setattr("maedfer.data.faces.face_tracks.make_detector", lambda *_: RedSquares())
    settings = CropSettings(size=32, margin=0.1, min_face=8, largest_face=largest_face)
    result = pack_source(
        Job(Source("a.mp4", str(path)), settings, StoreSettings(), str(tmp_path / "spool.tar"))
    )
    assert result.status == "ok" and len(result.samples) == tracks


def test_short_gaps_are_bridged_and_counted(tmp_path):
    (track,), _ = follow(tmp_path, still(), blind=(4, 5, 6))
    assert len(track.times) == 12 and track.seen(0, 3) == pytest.approx(12 / 15)


def test_a_track_ends_where_its_face_is_missing(tmp_path):
    draw = scene(lambda t: None if 1.0 < t < 2.2 else (48, 32))
    tracks, _ = follow(tmp_path, draw, 100)
    assert [(track.start_s, track.end_s) for track in tracks] == [(0.0, 1.0), (pytest.approx(2.2), 3.96)]


def test_a_shot_change_ends_a_track_in_its_very_frame(tmp_path):
    dark = still()
    light = scene(lambda _: (48, 32))
    tracks, _ = follow(tmp_path, lambda t: dark(t) if t < 1.49 else light(t) // 2 + 127)
    assert tracks[0].end_s == pytest.approx(1.48) and all(track.start_s > 1.5 for track in tracks[1:])
    assert not shot_changed(dark(0), np.roll(dark(0), 3, axis=1))


def test_a_face_that_is_seen_too_seldom_is_no_face():
    tracker = FaceTracker(min_face=20)
    true, rare, small = (
        Detection((x, 10, side, side), None, 1.0) for x, side in ((10, 30), (100, 30), (200, 15))
    )
    for i in range(20):
        tracker.look(i / 5, [true, small] + [rare] * (i in (3, 4)))
    (track,) = tracker.finish(4.0)
    assert track.boxes[0, 0] == 10


def test_a_larger_face_that_steps_in_front_starts_a_new_track():
    tracker = FaceTracker()
    for i in range(10):
        side = 50 if i < 5 else 75
        tracker.look(i / 5, [Detection((100 - side / 2, 100 - side / 2, side, side), None, 1.0)])
    assert [len(track.times) for track in tracker.finish(2.0)] == [5, 5]


def tracks_of(*looks, every=0.2, min_face=0.0):
    """Tracks of one face; a look is (x, y, w, h), or None where the detector misses it."""
    tracker = FaceTracker(min_face)
    for number, box in enumerate(looks):
        tracker.look(number * every, [] if box is None else [Detection(box, None, 1.0)])
    return tracker.finish(len(looks) * every)


BOX = (10.0, 10.0, 60.0, 60.0)


@pytest.mark.parametrize(
    ("looks", "lengths"),
    [
        ([BOX] * 4 + [None] * 3 + [BOX] * 4, [8]),  # a track survives three misses, but not four
        ([BOX] * 4 + [None] * 4 + [BOX] * 4, [4, 4]),
        ([None] * 5 + [BOX] * 3 + [None] * 5, [3]),  # three looks are enough, two are not
        ([None] * 5 + [BOX] * 2 + [None] * 5, []),
        ([BOX] * 2, [2]),  # unless the shot has no more
        ([BOX, None, BOX, None, BOX, None, BOX], [4]),  # at least half of the looks within the track
        ([BOX, None, None, BOX, None, None, BOX, None, None, BOX], []),
        ([(39.0 * i, 0.0, 60.0, 60.0) for i in range(5)], [5]),  # overlaps of 0.21 and 0.19
        ([(41.0 * i, 0.0, 60.0, 60.0) for i in range(5)], []),
        ([(0.0, 0.0, 60.0, 60.0)] * 3 + [(0.0, 0.0, 80.4, 80.4)] * 3, [6]),  # 1.34 and 1.36 times as large
        ([(0.0, 0.0, 60.0, 60.0)] * 3 + [(0.0, 0.0, 81.6, 81.6)] * 3, [3, 3]),
    ],
)
def test_what_makes_a_track(looks, lengths):
    assert [len(track.times) for track in tracks_of(*looks)] == lengths


def test_a_track_holds_the_looks_within_it():
    (first, second) = tracks_of(*[BOX] * 4, *[None] * 5, *[BOX] * 3, None, BOX)
    assert first.looks == pytest.approx([0, 0.2, 0.4, 0.6]) and first.seen(0, 0.6) == 1.0
    assert second.looks == pytest.approx([1.8, 2.0, 2.2, 2.4, 2.6]) and second.seen(1.8, 2.6) == 0.8
    assert tracks_of(*[BOX] * 4, min_face=60) and not tracks_of(*[BOX] * 4, min_face=61)


@pytest.mark.parametrize(("pause", "tracks"), [(1.4, 1), (1.6, 2)])
def test_a_pause_without_frames_ends_all_tracks(pause, tracks):
    video, detector = Drawn(still(), 4), RedSquares()
    frames = list(video.frames())
    for frame in frames[50:]:
        frame.time_s += pause
    found, _ = follow_faces(frames, detector)
    assert len(found) == tracks and detector.looks == 20  # five a second


@pytest.mark.parametrize(
    ("changed", "before", "now", "cut"),
    [(0.52, 10, 200, True), (0.48, 10, 200, False), (1.0, 50, 71, True), (1.0, 45, 64, False)],
)
def test_a_shot_change_is_one_of_colours_and_of_pixels(changed, before, now, cut):
    first = np.full((32, 48, 3), before, np.uint8)
    second = first.copy()
    second[:, : round(48 * changed)] = now
    assert shot_changed(first, second) is cut


def test_smoothing_keeps_a_steady_movement_and_removes_trembling():
    times = np.arange(20) / 5
    at = np.linspace(0.4, 3.4, 50)
    assert smooth_curve(times, times[:, None] * 7, at)[:, 0] == pytest.approx(at * 7, abs=1e-6)
    noise = np.random.default_rng(0).normal(0, 1, (20, 1))
    assert np.diff(smooth_curve(times, noise, times)[:, 0]).std() < 0.5 * np.diff(noise[:, 0]).std()
    assert smooth_curve(times[:1], np.array([[3.0]]), at[:2])[:, 0] == pytest.approx([3, 3])


def test_a_very_long_track_is_smoothed_like_its_parts():
    times, noise = np.arange(4000) / 5, np.random.default_rng(0).normal(0, 1, (4000, 3))
    for at in (np.linspace(400, 410, 125), np.linspace(-1, 9, 125), np.linspace(790, 801, 125)):
        first = int(np.clip(5 * (at[0] - 12), 0, 3800))
        part = slice(first, first + 200)
        long = smooth_curve(times, noise, at)
        inside = slice(20, -20)  # where the part does not end
        assert long[inside] == pytest.approx(smooth_curve(times[part], noise[part], at)[inside], abs=1e-9)


def test_crops_with_landmarks_stand_upright():
    """A picture turned by 20 degrees comes back level, at the right scale, to the pixel."""
    import cv2

    level = np.zeros((300, 300, 3), np.uint8)
    cv2.rectangle(level, (110, 120), (190, 130), (255, 255, 255), -1)
    turned = cv2.warpAffine(level, cv2.getRotationMatrix2D((149.5, 149.5), -20, 1), (300, 300))
    crop = cut_area(turned, np.array([150.0, 150.0, 120.0, 120.0]), 20.0, 60)
    wanted = cut_area(level, np.array([150.0, 150.0, 120.0, 120.0]), 0.0, 60)
    assert np.abs(crop.astype(int) - wanted).mean() < 3
    rows, columns = np.nonzero(crop[..., 0] > 128)
    assert (rows.min(), columns.min(), columns.max()) == pytest.approx((15, 10, 50), abs=1.01)


def test_a_crop_over_the_border_repeats_it():
    crop = cut_area(np.full((40, 40, 3), 90, np.uint8), np.array([0.0, 0.0, 60.0, 60.0]), 5.0, 32)
    assert crop.shape == (32, 32, 3) and (crop == 90).all()


def test_the_stored_rate():
    steady = np.arange(100) / 25
    times, fps = stored_times(steady, 12.5)
    assert fps == 12.5 and np.array_equal(times, steady[::2])
    times, fps = stored_times(np.arange(100) / 8, 12.5)  # a slower source keeps its rate
    assert fps == pytest.approx(8) and len(times) == 100
    times, fps = stored_times(np.arange(40) / 30, 12.5)  # shorter than a clip: every frame
    assert fps == pytest.approx(30) and len(times) == 40
    uneven = np.cumsum(np.tile([0.01, 0.05], 60))
    times, fps = stored_times(uneven, 12.5)
    assert fps == 12.5 and np.abs(times - (times[0] + np.arange(len(times)) * 0.08)).max() <= 0.026


def test_long_tracks_are_split_into_equal_pieces_and_short_ones_dropped(tmp_path):
    (track,), times = follow(tmp_path, still(), 300)
    crop = CropSettings(max_seconds=5.0)
    plans = plan_crops(track, times, crop)
    assert [len(plan.times) for plan in plans] == [50, 50, 50]
    assert len(plan_crops(track, times[:126], crop)) == 1  # of five seconds and not a frame more
    assert plan_crops(track, times[:15], crop) == []
    assert len(plan_crops(track, times[:16], crop)[0].times) == 16


def test_detectors_are_chosen_by_name(tmp_path):
    (whole,) = make_detector(CropSettings("none")).detect(np.zeros((40, 60, 3), np.uint8))
    assert whole.box == (10, 0, 40, 40)
    (part,) = make_detector(CropSettings("none", frame_crop=(0.25, 0.0, 0.5, 0.5))).detect(
        np.zeros((40, 60, 3), np.uint8)
    )
    assert part.box == (20, 0, 20, 20)
    for wrong in ((0.6, 0, 0.5, 0.5), (0, 0, 0.5, 0.4), (-0.1, 0, 0.5, 0.5), (0, 0, 0, 0)):
        with pytest.raises(UserError, match=r"^frame_crop: .* must be left, top, width, height"):
            make_detector(CropSettings("none", frame_crop=wrong))
    with pytest.raises(UserError, match=r"^frame_crop: .*haar"):
        make_detector(CropSettings(frame_crop=(0, 0, 1, 1)))
    assert make_detector(CropSettings()).detect(np.zeros((240, 320, 3), np.uint8)) == []
    with pytest.raises(UserError, match=r"^detector_model: "):
        make_detector(CropSettings("yunet"))
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx"):
        make_detector(CropSettings("yunet", str(tmp_path / "nothing.onnx")))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match=r"^detector_model: .*text\.onnx"):
        make_detector(CropSettings("yunet", str(tmp_path / "text.onnx")))
    with pytest.raises(UserError, match=r"^detector: mtcnn"):
        make_detector(CropSettings("mtcnn"))


def test_boxes_that_overlap_or_nest_are_one_face():
    boxes = [((0, 0, 10, 10), 1), ((1, 1, 10, 10), 3), ((3, 3, 3, 3), 2), ((30, 0, 10, 10), 1)]
    kept = suppress([Detection(box, None, score) for box, score in boxes])
    assert [face.box for face in kept] == [(1, 1, 10, 10), (30, 0, 10, 10)]
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "clip", "tracks"),
    [
        ("haar", "single_face_360p.mp4", [(0.0, 2.37)]),
        ("haar", "no_face.mp4", []),
        ("yunet", "none_then_face_hevc.mov", [(3.95, 6.35)]),
        ("yunet", "no_face.mp4", []),
    ],
)
def test_real_faces_are_found_and_a_cartoon_has_none(shared, name, clip, tracks):
    model = shared / "models" / "yunet_n_320_320.onnx"
    detector = make_detector(CropSettings(name, str(model) if name == "yunet" else None))
    found, _ = follow_faces(VideoFile(shared / "faces" / clip).frames(), detector, 48)
    assert [(track.start_s, track.end_s) for track in found] == [
        pytest.approx(span, abs=0.25) for span in tracks
    ]


def test_a_clip_may_start_between_two_microseconds():
    """Ticks of 1/12800 s end in half a microsecond, which NumPy and Python round differently."""
    times = np.array([tick / 12800 for tick in range(12, 12 + 512 * 16, 512)])
    plan = CropPlan(times, 25.0, np.tile([48.0, 32.0, 24.0, 24.0], (16, 1)), None, 1.0)
    frames = list(Drawn(still(), 1).frames())[:16]
    for frame, time_s in zip(frames, times.tolist(), strict=True):
        frame.time_s = time_s
    ((_, crops),) = cut_crops(frames, [plan], 24)
    assert crops.shape == (16, 24, 24, 3)
