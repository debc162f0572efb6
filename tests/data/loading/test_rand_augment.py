"""RandAugment of clips: one draw for all frames, upstream's strengths, nobody else's randomness touched."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from maedfer.data.loading.rand_augment import GREY, ClipAugment, seeded
from maedfer.errors import UserError

SIDE = 24


def clip_of(frames=4, seed=0):
    """Smooth frames uint8 (T, SIDE, SIDE, 3), all different."""
    coarse = torch.rand(frames, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    return (smooth * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def by_hand(frames: np.ndarray) -> dict[str, np.ndarray]:
    """All that one operation at strength 7 of 10 can make of a clip, frame by frame."""
    moved = {"interpolation": InterpolationMode.BILINEAR, "fill": list(GREY)}
    still = {"translate": [0, 0], "scale": 1.0, "angle": 0.0}
    shear = math.degrees(math.atan(0.7 * 0.3))
    away = int(0.7 * 150 / 331 * SIDE)
    made = {"identity": lambda x: x, "autocontrast": F.autocontrast, "equalize": F.equalize}
    made |= {"posterize": lambda x: F.posterize(x, 5), "solarize": lambda x: F.solarize(x, 0.3 * 255)}
    for sign in (-1, 1):
        made |= {
            f"rotate {sign}": lambda x, s=sign: F.rotate(x, s * 21.0, **moved),
            f"shear x {sign}": lambda x, s=sign: F.affine(
                x, **still, shear=[s * shear, 0.0], center=[0, 0], **moved
            ),
            f"shear y {sign}": lambda x, s=sign: F.affine(
                x, **still, shear=[0.0, s * shear], center=[0, 0], **moved
            ),
            f"right {sign}": lambda x, s=sign: F.affine(
                x, **still | {"translate": [s * away, 0]}, shear=[0.0, 0.0], **moved
            ),
            f"down {sign}": lambda x, s=sign: F.affine(
                x, **still | {"translate": [0, s * away]}, shear=[0.0, 0.0], **moved
            ),
            f"brightness {sign}": lambda x, s=sign: F.adjust_brightness(x, 1 + s * 0.63),
            f"color {sign}": lambda x, s=sign: F.adjust_saturation(x, 1 + s * 0.63),
            f"contrast {sign}": lambda x, s=sign: F.adjust_contrast(x, 1 + s * 0.63),
            f"sharpness {sign}": lambda x, s=sign: F.adjust_sharpness(x, 1 + s * 0.63),
        }
    pictures = [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames]
    return {
        name: torch.stack([make(picture) for picture in pictures]).permute(0, 2, 3, 1).numpy()
        for name, make in made.items()
    }


def test_one_operation_is_one_of_the_fourteen_at_seven_tenths():
    frames, augment = clip_of(), ClipAugment(1, 7)
    expected = {name: made.astype(int) for name, made in by_hand(frames).items()}
    seen = dict.fromkeys(expected, 0)
    for seed in range(300):
        made = augment(frames, seed).astype(int)
        # A batch of frames or one at a time: some sums round differently, by one grey level.
        near = [name for name, other in expected.items() if np.abs(made - other).max() <= 1]
        assert near, seed
        seen.update({name: seen[name] + 1 for name in near})
    assert all(seen.values()), seen
    assert 0.42 < seen["identity"] / 300 < 0.68  # not applied in a half, and the identity is 1 of the 14


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), ops=st.integers(1, 4), magnitude=st.integers(0, 10))
def test_all_frames_of_a_clip_are_changed_alike(seed, ops, magnitude):
    still = np.repeat(clip_of(1), 3, axis=0)
    made = ClipAugment(ops, magnitude)(still, seed)
    assert made.shape == still.shape and made.dtype == np.uint8 and made.flags.c_contiguous
    assert (made == made[:1]).all()


def test_the_seed_decides_and_the_process_keeps_its_own_draws():
    frames, augment = clip_of(), pickle.loads(pickle.dumps(ClipAugment(4, 7)))
    before, given_frames = torch.get_rng_state(), frames.copy()
    made = [augment(frames, seed) for seed in range(20)]
    assert torch.equal(torch.get_rng_state(), before) and np.array_equal(frames, given_frames)
    torch.rand(5)
    assert all(np.array_equal(augment(frames, seed), made[seed]) for seed in reversed(range(20)))
    assert len({clip.tobytes() for clip in made}) > 15


def test_named_randomness_does_not_seed_the_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeded the devices"))
    draws = []
    for name in ((1, "erase"), (1, "mixing"), (1, "erase")):
        with seeded(*name):
            draws.append(torch.rand(()).item())
    assert draws[0] == draws[2] != draws[1]


def test_what_was_moved_away_is_grey():
    white = np.full((2, SIDE, SIDE, 3), 255, np.uint8)
    made = [ClipAugment(1, 10)(white, seed) for seed in range(60)]
    patterned = [clip for clip in made if clip.min() != clip.max()]
    assert len(patterned) > 5
    for clip in patterned:
        assert (clip == 128).sum() > 3 * SIDE
        assert clip.min() >= 112  # at a border torchvision blends m * (255 * m - 128) + 128


def test_without_operations_nothing_happens():
    frames = clip_of()
    assert np.array_equal(ClipAugment(0, 7)(frames, 3), frames)


def test_numbers_out_of_range_are_refused_by_their_flag():
    with pytest.raises(UserError, match=r"^rand_augment_ops: -1"):
        ClipAugment(-1, 7)
    with pytest.raises(UserError, match=r"^rand_augment_magnitude: 11 is not in 0\.\.10"):
        ClipAugment(4, 11)
