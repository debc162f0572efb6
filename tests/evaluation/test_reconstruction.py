"""Held-out errors against sums written out in numpy."""

import json

import numpy as np
import pytest
import torch

from maedfer.evaluation.reconstruction import HeldOutErrors, PositionMean, describe, held_out_columns


def test_position_mean_is_the_mean_over_clips():
    targets = torch.randn(7, 5, 6)
    mean = PositionMean()
    mean.add(targets[:3])
    mean.add(targets[3:])
    torch.testing.assert_close(mean.table(), targets.mean(0))
    indices = torch.tensor([[0, 4], [2, 1]])
    torch.testing.assert_close(mean.at(indices)[1, 0], targets[:, 2].mean(0))
    restored = PositionMean()
    restored.load_state_dict(mean.state_dict())
    torch.testing.assert_close(restored.table(), mean.table())


def test_errors_against_numpy():
    rng = np.random.default_rng(0)
    prediction, target, mean = (rng.normal(size=(4, 3, 8)) for _ in range(3))
    errors = HeldOutErrors(
        torch.device("cpu"), 1
    )  # 3 of 8 values: tubelets of more than two frames have more motion
    for clips in (slice(0, 1), slice(1, 4)):
        errors.add(*(torch.from_numpy(values[clips]) for values in (prediction, target, mean)))
    found = HeldOutErrors.summary(errors.as_tensor(), appearance_weight=0.3)

    square = (prediction - target) ** 2
    appearance, motion = square[..., :3].mean(), square[..., 3:].mean()
    assert found["appearance_model"] == pytest.approx(appearance)
    assert found["motion_model"] == pytest.approx(motion)
    assert found["total_model"] == pytest.approx(0.3 * appearance + 0.7 * motion)
    assert found["motion_zero"] == pytest.approx((target[..., 3:] ** 2).mean())
    assert found["motion_vs_position_mean"] == pytest.approx(motion / ((mean - target)[..., 3:] ** 2).mean())
    assert set(found) | {"step"} == set(held_out_columns())
    assert "synthetic" in describe(found, synthetic=True)
    assert "synthetic" not in describe(found, synthetic=False)


def test_a_baseline_without_an_error_is_not_divided_by():
    """Tracks of one frame: nothing moves, and zero is right about it."""
    target = torch.cat((torch.ones(2, 3, 4), torch.zeros(2, 3, 4)), dim=-1)
    errors = HeldOutErrors(torch.device("cpu"), 2, in_chans=1)
    errors.add(target + 0.5, target, target)
    found = HeldOutErrors.summary(errors.as_tensor(), 0.5)
    assert found["motion_vs_zero"] is None is found["total_vs_position_mean"]
    assert found["appearance_vs_zero"] == 0.25 and json.loads(json.dumps(found)) == found
    assert [line.split()[-1] for line in describe(found, synthetic=False).splitlines()[1:]] == ["-", "-", "-"]


def test_no_clip_gives_no_errors():
    assert HeldOutErrors.summary(HeldOutErrors(torch.device("cpu"), 2).as_tensor(), 0.5) == {}
