"""Motion over other groups of frames than a tubelet's: against a loop, its inverse, and pictures of it."""

import pytest
import torch
from helpers import reference

from maedfer.models import region_tube_mask
from maedfer.models.motion_groups import differences, sums
from maedfer.models.targets import reconstruction_targets, targets_to_pixels
from maedfer.models.tubelets import patchify

GROUPS = [1, 2, 3, 4, 5, 8, 100]
GRID = (4, 2, 2)


@pytest.fixture
def pixels():
    """Two clips of 8 frames of 8 px, in tubelets of 2 x 4 x 4."""
    return torch.rand(2, 3, 8, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("group", GROUPS)
def test_targets_equal_the_loop_and_invert(pixels, group):
    masked = torch.tensor([[0, 3, 7, 8, 15], [1, 5, 9, 13, 14]])
    target = reconstruction_targets(pixels, masked, 4, 2, 0.05, group)
    mean, std = (
        torch.tensor(x, dtype=torch.float64).view(3, 1, 1, 1) for x in (reference.MEAN, reference.STD)
    )
    for i in range(2):
        for place, token in enumerate(masked[i].tolist()):
            expected = reference.target((pixels[i] - mean) / std, token, GRID, 4, 0.05, group)
            torch.testing.assert_close(target[i, place], expected, rtol=1e-9, atol=1e-9)
    found = targets_to_pixels(target, pixels, masked, 4, 2, 0.05, group)
    expected = patchify(pixels, 4, 2).gather(1, masked[..., None].expand(-1, -1, 96))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_differences_by_hand():
    clip = torch.tensor([5.0, 7, 1, 4, 9, 8, 2]).view(1, 1, 7, 1, 1)
    by_hand = {
        1: [5, 7, 1, 4, 9, 8, 2],
        2: [5, 2, 1, 3, 9, -1, 2],
        3: [5, 2, -4, 4, 5, 4, 2],
        4: [5, 2, -4, -1, 9, -1, -7],
    }
    for group, values in by_hand.items():
        assert differences(clip, group).flatten().tolist() == values
        assert torch.equal(sums(differences(clip, group), group), clip)


def test_the_default_is_the_group_of_a_tubelet(pixels):
    masked = torch.tensor([[0, 3, 7], [1, 2, 15]])
    for tubelet in (2, 4):
        chosen = masked % (8 // tubelet * 4)
        default = reconstruction_targets(pixels, chosen, 4, tubelet)
        assert torch.equal(reconstruction_targets(pixels, chosen, 4, tubelet, motion_group=tubelet), default)
        other = reconstruction_targets(pixels, chosen, 4, tubelet, motion_group=1)
        assert torch.equal(other[..., :48], default[..., :48]) and not torch.equal(other, default)


def test_motion_stands_on_the_guess_of_a_masked_first_frame_and_on_a_visible_one_as_it_is(pixels):
    """Tokens 4 and 5 hold frames 2 and 3, whose group of 4 begins in tokens 0 (guessed) and 1 (visible)."""
    indices = torch.tensor([[0, 4, 5]] * 2)
    target = reconstruction_targets(pixels, indices, 4, 2, motion_group=4)
    target[:, 0, :48] += 1.0  # frame 0 is guessed a standard deviation too bright
    found = targets_to_pixels(target, pixels, indices, 4, 2, motion_group=4)
    every = patchify(pixels, 4, 2)
    tubelets = every[:, [0, 4, 5]].unflatten(-1, (32, 3))
    deviation = tubelets.std(dim=2) + 1e-6
    off = (found.unflatten(-1, (32, 3)) - tubelets) / deviation[:, :, None]
    torch.testing.assert_close(off[:, :2], torch.ones_like(off[:, :2]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(off[:, 2], torch.zeros_like(off[:, 2]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("group", GROUPS)
def test_pictures_of_a_perfect_decoder_are_the_clip(build_tiny_mae, clip, group):
    mae = build_tiny_mae({"motion_group": group})
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    mae.predict = lambda clip, visible, masked: mae.targets(clip, masked)
    perfect = mae.reconstruct(clip, mask)
    torch.testing.assert_close(perfect.reconstruction, mae.to_pixels(clip), rtol=0, atol=1e-5)
    torch.testing.assert_close(perfect.motion, perfect.motion_original, rtol=0, atol=1e-5)


def test_a_group_without_frames_is_refused(build_tiny_mae):
    for group in (0, -2):
        with pytest.raises(ValueError, match=rf"^motion_group: {group} must be 1"):
            build_tiny_mae({"motion_group": group})
