"""Appearance and motion targets against a loop, their layout, their floor and their inverse."""

import pytest
import torch
from helpers import reference

from maedfer.models.targets import reconstruction_targets, split_target, targets_to_pixels
from maedfer.models.tubelets import patchify, unpatchify


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_targets_equal_the_loop_and_invert(floor):
    pixels = torch.rand(2, 3, 4, 12, 8, dtype=torch.float64)
    masked = torch.tensor([[0, 3, 7, 11], [1, 2, 10, 5]])
    target = reconstruction_targets(pixels, masked, 4, 2, floor)
    mean, std = (
        torch.tensor(x, dtype=torch.float64).view(3, 1, 1, 1) for x in (reference.MEAN, reference.STD)
    )
    for i in range(2):
        for place, token in enumerate(masked[i].tolist()):
            expected = reference.target((pixels[i] - mean) / std, token, (2, 3, 2), 4, floor)
            torch.testing.assert_close(target[i, place], expected, rtol=1e-9, atol=1e-9)
    found = targets_to_pixels(target, pixels, masked, 4, 2, floor)
    expected = patchify(pixels, 4, 2).gather(1, masked[..., None].expand(-1, -1, 96))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_still_tubelet_has_no_motion_and_a_flat_one_no_signal():
    frame = torch.rand(1, 3, 1, 8, 8)
    still = reconstruction_targets(frame.expand(-1, -1, 2, -1, -1), torch.tensor([[0]]), 8)
    appearance, motion = split_target(still, 8)
    assert appearance.shape == motion.shape == (1, 1, 192)
    assert appearance.std() > 0.9 and motion.abs().max() == 0
    flat = reconstruction_targets(torch.full((1, 3, 2, 8, 8), 0.3), torch.tensor([[0]]), 8)
    assert flat.isfinite().all() and flat.abs().max() < 1


def test_the_floor_quietens_faint_noise_only():
    noise = torch.randn(1, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    for scale, kept in ((0.005, 0.1), (0.5, 0.995)):
        plain, floored = (
            split_target(reconstruction_targets(0.5 + scale * noise, torch.tensor([[0]]), 16, 2, floor), 16)[
                0
            ].std()
            for floor in (0.0, 0.05)
        )
        assert floored / plain == pytest.approx(kept, rel=0.05)


def test_patches_are_frame_row_column_channel_with_the_channel_fastest():
    clip = torch.arange(1 * 3 * 4 * 4 * 4).view(1, 3, 4, 4, 4)
    patches = patchify(clip, 2, 2)
    assert patches.shape == (1, 8, 24)
    # Token 5 is the second pair of frames, upper row, right column.
    expected = [
        clip[0, c, 2 + f, y, 2 + x] for f in range(2) for y in range(2) for x in range(2) for c in range(3)
    ]
    assert patches[0, 5].tolist() == [int(value) for value in expected]
    assert torch.equal(unpatchify(patches, (2, 2, 2), 2, 2), clip)
