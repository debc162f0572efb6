"""Every region of every clip keeps exactly the same number of visible tokens, whatever divides the grid."""

import json
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.models import RegionLayout, mask_indices, region_tube_mask, tube_mask
from maedfer.models.masking import MASKS, MaskSpec, MaskSymmetry, draw_predicted, masked_per_window


def draw_region_mask(grid, region_size, ratio, rng, mode="tube", symmetry="none"):
    return MaskSpec(grid, region_size, ratio, mode, symmetry).draw(rng)


MASK_MODES, MASK_SYMMETRIES = tuple(MASKS), get_args(MaskSymmetry)
PUBLISHED = ((8, 10, 10), (2, 5, 10), 0.9)


@st.composite
def layouts(draw):
    """A region, a grid that it divides, and a mask ratio that leaves something on both sides."""
    region = draw(st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(2, 6)))
    grid = tuple(size * draw(st.integers(1, 3)) for size in region)
    size = region[1] * region[2]
    ratio = draw(st.integers(-(-100 // size), 99)) / 100
    return grid, region, ratio


@settings(max_examples=60, deadline=None)
@given(layouts(), st.integers(0, 2**31))
def test_every_region_keeps_the_same_count_and_every_frame_the_same_pattern(layout, seed):
    grid, region, ratio = layout
    per_window = masked_per_window(region[1:], ratio)
    assert per_window == Fraction(round(ratio * 100), 100) * region[1] * region[2] // 1
    torch_mask = region_tube_mask(3, grid, region, ratio, torch.Generator().manual_seed(seed))
    numpy_mask = draw_region_mask(grid, region, ratio, np.random.default_rng(seed))
    for mask in (*torch_mask.numpy(), numpy_mask):
        cube = mask.reshape(grid)
        assert (cube == cube[:1]).all()
        for h in range(0, grid[1], region[1]):
            for w in range(0, grid[2], region[2]):
                assert cube[0, h : h + region[1], w : w + region[2]].sum() == per_window
    assert RegionLayout(grid, region).count_masked(torch_mask) == torch_mask[0].sum()


@st.composite
def ablations(draw):
    """A layout, a mode and a symmetry that go together."""
    grid, region, ratio = draw(layouts())
    mode = draw(st.sampled_from(MASK_MODES))
    symmetry = draw(st.sampled_from(MASK_SYMMETRIES))
    if symmetry != "none":
        region = (*region[:2], region[2] + region[2] % 2)
        grid = (grid[0], grid[1], region[2])
        ratio = max(ratio, 0.5)
    return grid, region, ratio, mode, symmetry


@settings(max_examples=80, deadline=None)
@given(ablations(), st.integers(0, 2**31))
def test_every_mask_of_an_ablation_has_equal_counts_in_its_halves_and_frames(ablation, seed):
    grid, region, ratio, mode, symmetry = ablation
    mask = draw_region_mask(grid, region, ratio, np.random.default_rng(seed), mode, symmetry)
    assert mask.dtype == bool and mask.shape == (grid[0] * grid[1] * grid[2],)
    found = RegionLayout(grid, region).count_masked(torch.from_numpy(mask)[None])
    spec = MaskSpec(grid, region, ratio, mode, symmetry)
    assert spec.num_masked == found == mask.sum()
    assert (spec.draw(np.random.default_rng(seed)) == mask).all()
    cube = mask.reshape(grid)
    exact = Fraction(str(ratio))
    if mode == "tube":
        assert (cube == cube[:1]).all()
        assert found == exact * region[1] * region[2] // 1 * (mask.size // (region[1] * region[2]))
    else:
        size = region[0] * region[1] * region[2]
        assert found == exact * size // 1 * (mask.size // size)
    if symmetry != "none":
        left, right = np.split(~cube, 2, axis=2)
        sides = [
            (side.any(), other.any())
            for t in range(0, grid[0], region[0])
            for h in range(0, grid[1], region[1])
            for box in [np.s_[t : t + region[0], h : h + region[1]]]
            for side, other in [(left[box], right[box])]
        ]
        assert all(one != other for one, other in sides)
        assert symmetry == "local" or len(set(sides)) == 1


@settings(max_examples=30, deadline=None)
@given(layouts())
def test_indices_are_ascending_and_split_the_tokens(layout):
    mask = region_tube_mask(2, *layout)
    visible, masked = mask_indices(mask)
    for row, seen, hidden in zip(mask, visible, masked, strict=True):
        assert seen.tolist() == (~row).nonzero().flatten().tolist()
        assert hidden.tolist() == row.nonzero().flatten().tolist()
    again = mask_indices(mask, num_masked=masked.shape[1])
    assert torch.equal(again[0], visible) and torch.equal(again[1], masked)


def test_the_published_mask_hides_720_of_800_tokens_and_ten_stay_per_region():
    mask = region_tube_mask(2, *PUBLISHED)
    assert mask.sum(1).tolist() == [720, 720]
    per_region = mask[:, RegionLayout(*PUBLISHED[:2]).region_order].view(2, 8, 100)
    assert ((~per_region).sum(-1) == 10).all()


@pytest.mark.real
def test_counts_per_frame_are_those_of_upstream(shared):
    oracle = json.loads((shared / "oracle" / "utils_oracle.json").read_text())[
        "visible_patch_ids_first_frame"
    ]
    for name, window in (("win5x10", (5, 10)), ("win2x10", (2, 10)), ("tube", (10, 10))):
        for seed in range(4):
            bands = np.array(oracle[f"{name}_seed{seed}"]) // 10 // window[0]
            counts = np.bincount(bands, minlength=10 // window[0])
            assert (counts == window[0] * window[1] - masked_per_window(window, 0.9)).all()


class Scripted:
    """A source of randomness that says what it was told to, if it was asked for an order of just these."""

    def __init__(self, rows, sides):
        self.rows, self.sides = rows, sides

    def permuted(self, array, axis):
        assert axis == 1 and (np.sort(array, axis=1) == np.sort(self.rows, axis=1)).all()
        return self.rows

    def random(self, count):
        assert count == len(self.sides)
        return self.sides


@pytest.mark.real
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "window", "symmetry"),
    [
        ("win5x10", (5, 10), "none"),
        ("win2x10", (2, 10), "none"),
        ("tube", (10, 10), "none"),
        ("win5x10_global", (5, 10), "global"),
        ("win5x10_local", (5, 10), "local"),
    ],
)
def test_every_mask_of_upstream_is_a_possible_draw(shared, name, window, symmetry, seed):
    """Its windows are handed to ours as what chance gave, and the same frame comes out, eight times."""
    oracle = json.loads((shared / "oracle" / "utils_oracle.json").read_text())
    frame = np.ones(100, bool)
    frame[oracle["visible_patch_ids_first_frame"][f"{name}_seed{seed}"]] = False
    windows = frame.reshape(-1, *window)
    left = np.array([not w[:, :5].all() for w in windows])
    if symmetry != "none":
        windows = np.stack(
            [w[:, :5] if on_left else w[:, 5:] for w, on_left in zip(windows, left, strict=True)]
        )
    sides = np.where(left[:1] if symmetry == "global" else left, 0.25, 0.75)
    rng = Scripted(windows.reshape(len(windows), -1), sides)
    mask = draw_region_mask((8, 10, 10), (2, *window), 0.9, rng, "tube", symmetry)
    assert (mask == np.tile(frame, 8)).all()


def test_a_random_mask_differs_from_region_to_region_and_from_frame_to_frame():
    mask = draw_region_mask(*PUBLISHED, np.random.default_rng(0), "random")
    regions = mask[RegionLayout(*PUBLISHED[:2]).region_order].reshape(8, 2, 50)
    assert len({region.tobytes() for region in regions}) == 8
    assert all((region[0] != region[1]).any() for region in regions)
    # Rounded down within a region, not within a window of it.
    assert MaskSpec((8, 10, 10), (2, 5, 10), 0.75).num_masked == 16 * 37
    assert MaskSpec((8, 10, 10), (2, 5, 10), 0.75, "random").num_masked == 8 * 75


@pytest.mark.parametrize("mode", MASK_MODES)
@pytest.mark.parametrize("symmetry", MASK_SYMMETRIES)
def test_masks_of_an_ablation_hide_every_token_equally_often(mode, symmetry):
    rng = np.random.default_rng(0)
    draws = [draw_region_mask((2, 4, 4), (1, 2, 4), 0.75, rng, mode, symmetry) for _ in range(3000)]
    assert np.abs(np.mean(draws, axis=0) - 0.75).max() < 0.04
    halves = ~np.stack(draws).reshape(3000, 2, 2, 2, 2, 2)  # frame, window, row, left or right, column
    on_left = halves[:, :, :, :, 0].any((3, 4))
    if symmetry == "local":  # the upper and the lower window of a frame have sides of their own
        assert abs((on_left[:, 0, 0] == on_left[:, 0, 1]).mean() - 0.5) < 0.04
        assert (on_left[:, 0, 0] == on_left[:, 1, 0]).all() == (mode == "tube")


def test_a_mode_is_added_by_its_function_alone(monkeypatch):
    monkeypatch.setitem(MASKS, "frames", lambda grid, region: (grid, (1, *region[1:])))
    spec = MaskSpec(*PUBLISHED, "frames")
    cube = spec.draw(np.random.default_rng(0)).reshape(8, 2, 50)
    assert spec.num_masked == 720 and (cube.sum(-1) == 45).all()
    assert len({frame.tobytes() for frame in cube}) == 8


def test_masks_of_a_seed_stay_what_they_were():
    """A resumed run draws the masks that it would have drawn before there were ablations."""
    mask = draw_region_mask(*PUBLISHED, np.random.default_rng(0))
    assert np.flatnonzero(~mask[:100]).tolist() == [12, 15, 29, 30, 42, 70, 80, 87, 90, 97]


@pytest.mark.parametrize(
    ("region", "ratio", "words", "message"),
    [
        ((2, 5, 5), 0.8, ("tube", "local"), "^mask_symmetry: .* one is 5 of 10 tokens wide"),
        (
            (2, 10, 10),
            0.4,
            ("tube", "global"),
            "^mask_ratio: 0.4 leaves 60 of 100 tokens visible",
        ),
        (
            (2, 5, 10),
            0.4,
            ("random", "local"),
            "^mask_ratio: 0.4 leaves 60 of 100 tokens visible",
        ),
        ((2, 5, 10), 0.9, ("cube", "none"), "^mask_mode: 'cube' is not one of"),
        ((2, 5, 10), 0.9, ("tube", "both"), "^mask_symmetry: 'both' is not one of"),
        ((2, 5, 4), 0.9, ("random", "none"), r"^region_size: \(2, 5, 4\) does not divide"),
        ((1, 1, 2), 0.4, ("random", "none"), "^mask_ratio: 0.4 masks 0 of the 2 tokens"),
    ],
)
def test_masks_that_cannot_be_are_refused(region, ratio, words, message):
    for refuse in (
        lambda: MaskSpec((8, 10, 10), region, ratio, *words).num_masked,
        lambda: draw_region_mask((8, 10, 10), region, ratio, np.random.default_rng(0), *words),
    ):
        with pytest.raises(ValueError, match=message):
            refuse()


def test_a_random_mask_may_have_windows_too_small_for_a_tube():
    with pytest.raises(ValueError, match="masks 0 of the 2"):
        _ = MaskSpec((8, 10, 10), (4, 1, 2), 0.4).num_masked
    assert MaskSpec((8, 10, 10), (4, 1, 2), 0.4, "random").num_masked == 100 * 3


@pytest.mark.parametrize(
    ("window", "ratio", "masked"),
    [((5, 10), 0.9, 45), ((5, 10), 0.75, 37), ((5, 10), 0.95, 47), ((10, 10), 0.29, 29), ((7, 7), 0.9, 44)],
)
def test_counts_are_exact_floors_of_the_decimal_ratio(window, ratio, masked):
    assert masked_per_window(window, ratio) == masked


def test_masks_follow_their_seed_and_clips_differ():
    draws = [region_tube_mask(4, *PUBLISHED, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])
    rng = [draw_region_mask(*PUBLISHED, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert (rng[0] == rng[1]).all() and (rng[0] != rng[2]).any()


def test_every_token_is_masked_equally_often():
    share = (
        region_tube_mask(4000, (1, 4, 4), (1, 2, 4), 0.75, torch.Generator().manual_seed(0)).float().mean(0)
    )
    assert (share - 0.75).abs().max() < 0.04
    rng = np.random.default_rng(0)
    share = np.mean([draw_region_mask((1, 4, 4), (1, 2, 4), 0.75, rng) for _ in range(4000)], axis=0)
    assert np.abs(share - 0.75).max() < 0.04


def test_a_tube_is_one_window_over_the_frame():
    mask = tube_mask(2, (4, 3, 5), 0.8).view(2, 4, 15)
    assert (mask == mask[:, :1]).all() and (mask.sum(-1) == 12).all()


@pytest.mark.parametrize(
    ("region", "ratio", "message"),
    [
        (
            (2, 5, 4),
            0.9,
            r"^region_size: \(2, 5, 4\) does not divide the token grid \(8, 10, 10\).*\(2, 5, 2\)",
        ),
        ((2, 1, 2), 0.4, r"masks 0 of the 2 tokens in a window of \(1, 1, 2\)"),
        ((2, 5, 10), 1.0, "masks 50 of the 50"),
        ((2, 5), 0.9, r"^region_size: \(2, 5\) must be three positive"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(region, ratio, message):
    with pytest.raises(ValueError, match=message):
        region_tube_mask(1, (8, 10, 10), region, ratio)
    with pytest.raises(ValueError, match=message):
        draw_region_mask((8, 10, 10), region, ratio, np.random.default_rng(0))


def test_what_is_predicted_of_a_clip_depends_on_its_own_seed_alone():
    seeds = [2**62 + 5, 7, 0, 2**63 - 1]
    places = draw_predicted(seeds, 48, 12)
    assert places.shape == (4, 12) and places.dtype == torch.int64
    assert (places.diff(dim=1) > 0).all() and places.min() >= 0 and places.max() < 48
    assert len({tuple(row) for row in places.tolist()}) == 4
    order = [2, 0, 3, 1]
    assert torch.equal(draw_predicted([seeds[i] for i in order], 48, 12), places[order])
    before = torch.get_rng_state()
    assert torch.equal(draw_predicted(seeds[1:2], 48, 12), places[1:2])
    assert torch.equal(torch.get_rng_state(), before)
    assert draw_predicted(seeds, 6, 6).tolist() == 4 * [[0, 1, 2, 3, 4, 5]]


def test_every_masked_token_is_predicted_equally_often():
    counts = draw_predicted(range(4000), 30, 6).flatten().bincount(minlength=30)
    assert (counts / 4000 - 0.2).abs().max() < 0.03
