"""Clip positions: 0.16 s at any rate, short tracks, random and evenly spread starts."""

import numpy as np
import pytest

from maedfer.data.loading.clip_times import ClipSampler
from maedfer.errors import UserError


@pytest.mark.parametrize(("fps", "stride"), [(25.0, 4), (12.5, 2), (50.0, 8), (6.25, 1)])
def test_the_stride_follows_the_rate(fps, stride):
    clip = ClipSampler(200, fps).clip_at(3)
    assert clip.indices.tolist() == [3 + stride * k for k in range(16)]
    assert clip.start_s == pytest.approx(3 / fps)


@pytest.mark.parametrize("fps", [23.976, 24.0, 29.97, 30.0, 10.0])
def test_other_rates_take_the_nearest_frame(fps):
    track = ClipSampler(120, fps)
    for start in (0, track.last_start):
        indices = track.clip_at(start).indices
        errors = (indices - start) / fps - 0.16 * np.arange(16)
        assert abs(errors).max() <= 0.5 / fps + 1e-6 and indices.max() <= 119


def test_a_track_of_exactly_one_clip():
    track = ClipSampler(31, 12.5)
    assert not track.short and track.last_start == 0
    assert track.clip_at(0).indices.tolist() == list(range(0, 31, 2))


def test_a_short_track_is_sampled_over_its_whole_length():
    track = ClipSampler(30, 12.5)
    clip = track.random_clip(np.random.default_rng(0))
    assert clip.start_s == 0.0
    assert clip.indices[0] == 0 and clip.indices[-1] == 29 and (np.diff(clip.indices) > 0).all()
    assert ClipSampler(16, 25.0).clip_at(0).indices.tolist() == list(range(16))


@pytest.mark.parametrize("frames", [1, 2, 7, 15])
@pytest.mark.parametrize("fps", [6.25, 25.0])
def test_fewer_frames_than_a_clip_are_given_more_than_once(frames, fps):
    track = ClipSampler(frames, fps)
    clip = track.random_clip(np.random.default_rng(0))
    assert clip.indices.tolist() == track.spread_clip(1, 2).indices.tolist()
    assert track.last_start == 0 and clip.start_s == 0.0
    times = np.bincount(clip.indices)
    assert len(clip.indices) == 16 and len(times) == frames and (np.diff(clip.indices) >= 0).all()
    # Every frame is shown, none much longer than another: the ends get half of what is between them.
    assert times.min() >= 1 and times.max() <= 2 * times.min() + 1


def test_few_frames_that_last_as_long_as_a_clip_are_not_short():
    clip = ClipSampler(11, 6.25, interval_s=0.08).clip_at(0)
    assert clip.indices.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]


def test_a_track_without_frames_or_rate_is_refused():
    with pytest.raises(UserError, match="too short: 0 frames"):
        ClipSampler(0, 25.0)
    with pytest.raises(UserError, match="not positive"):
        ClipSampler(20, 0.0)


def test_random_starts_reach_both_ends():
    track, rng = ClipSampler(34, 12.5), np.random.default_rng(0)
    starts = {round(track.random_clip(rng).start_s * 12.5) for _ in range(100)}
    assert starts == {0, 1, 2, 3}


def test_evaluation_clips_are_centred_or_spread():
    track = ClipSampler(131, 12.5)
    assert track.spread_clip(0, 1).indices[0] == 50
    assert [track.spread_clip(k, 3).indices[0] for k in range(3)] == [0, 50, 100]
