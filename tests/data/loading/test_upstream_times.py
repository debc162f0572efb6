"""Upstream's frames of a clip: its own numbers for many lengths, and its formulas worked out by hand."""

import json

import numpy as np
import pytest

from maedfer.data.loading.clip_times import ClipSampler
from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.data.loading.upstream_times import FineTuningSampler, PretrainingSampler
from maedfer.errors import UserError


@pytest.fixture(scope="module")
def oracle(shared):
    return json.loads((shared / "oracle" / "utils_oracle.json").read_text())


@pytest.mark.real
def test_fine_tuning_takes_upstreams_frames(oracle):
    cases = oracle["finetune_frame_indices"]
    assert len(cases) == 28
    for name, expected in cases.items():
        rate, frames = (int(word.lstrip("rateN")) for word in name.split("_"))
        track = FineTuningSampler(frames, 25.0, interval_s=rate / 25)
        for seed in range(3):
            # Upstream draws the end, and only where there is a choice.
            drawn = np.random.RandomState(seed)
            start = drawn.randint(16 * rate, frames) - 16 * rate if frames > 16 * rate else 0
            assert start <= track.last_start
            assert track.clip_at(start).indices.tolist() == expected[f"train_seed{seed}"], (name, seed)
        tested = [track.spread_clip(segment, 2).indices.tolist() for segment in (0, 1)]
        assert tested == expected["test_views_2seg"], name


@pytest.mark.real
def test_pretraining_takes_upstreams_frames(oracle):
    cases = oracle["pretrain_frame_indices"]
    assert len(cases) == 16
    for name, expected in cases.items():
        frames, seed = (int(word.lstrip("Nsed")) for word in name.split("_"))
        track = PretrainingSampler(frames, 25.0)
        start = np.random.RandomState(seed).randint(frames - 63, size=1)[0] if frames >= 64 else 0
        assert start == expected["offset"] - 1 <= track.last_start
        assert track.clip_at(int(start)).indices.tolist() == expected["ids"], name


def test_pretraining_copies_its_last_reachable_frame():
    clip = PretrainingSampler(13, 25.0).clip_at(0)
    assert clip.indices.tolist() == [0, 4] + [8] * 14  # never 12, the last one
    assert PretrainingSampler(1, 25.0).clip_at(0).indices.tolist() == [0] * 16
    # At rate 1 the last frame of a clip at the end of its track is a copy too.
    assert PretrainingSampler(20, 25.0, interval_s=0.04).clip_at(4).indices.tolist() == [*range(4, 19), 18]


@pytest.mark.parametrize(
    ("kind", "frames", "starts"), [(PretrainingSampler, 67, 4), (FineTuningSampler, 67, 3)]
)
def test_all_of_upstreams_starts_are_drawn_and_no_other(kind, frames, starts):
    rng, track = np.random.default_rng(0), kind(frames, 25.0)
    drawn = [round(track.random_clip(rng).start_s * 25) for _ in range(100)]
    assert set(drawn) == set(range(starts))
    assert track.spread_clip(0, 1).start_s == pytest.approx((starts - 1) // 2 / 25)


def test_the_rate_is_in_stored_frames():
    assert [FineTuningSampler(9, fps).rate for fps in (25.0, 12.5, 30.0, 6.25, 2.0)] == [4, 2, 5, 1, 1]
    assert FineTuningSampler(9, 25.0, interval_s=0.04).rate == 1
    assert FineTuningSampler(40, 12.5).spread_clip(1, 2).indices.tolist() == list(range(8, 40, 2))


def test_test_clips_start_where_they_say():
    clips = [FineTuningSampler(80, 25.0).spread_clip(number, 3) for number in range(3)]
    assert [clip.start_s for clip in clips] == [0.0, 8 / 25, 16 / 25]
    same = [FineTuningSampler(64, 25.0).spread_clip(number, 2) for number in range(2)]
    assert same[0].start_s == same[1].start_s == 0.0 and np.array_equal(same[0].indices, same[1].indices)


def test_a_setting_chooses_the_sampler(synthetic_shards):
    for kind, official in ((ClipDataModule, PretrainingSampler), (LabelledDataModule, FineTuningSampler)):
        for sampling, sampler in (("correct", ClipSampler), ("official", official)):
            data = kind(str(synthetic_shards), sampling=sampling, workers=0)
            assert data._maker(1, training=False).sampler is sampler
        with pytest.raises(UserError, match=r"^sampling: offical is unknown"):
            kind(str(synthetic_shards), sampling="offical")
