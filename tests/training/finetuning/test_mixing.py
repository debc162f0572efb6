"""Erasing and mixing on the device: what was changed is exactly what is claimed, in all frames alike."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.errors import UserError
from maedfer.training.finetuning.mixing import Mixing, erase


def numbered_clips(batch=4, frames=3, side=20):
    """Clips whose every value is the number of the clip: which pixel came from where can be read off."""
    return torch.arange(float(batch))[:, None, None, None, None].repeat(1, 3, frames, side, side)


def random_clips(batch=4, frames=3, side=20):
    return torch.randn(batch, 3, frames, side, side, generator=torch.Generator().manual_seed(0))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), batch=st.integers(2, 5))
def test_cutmix_moves_as_many_pixels_as_it_moves_labels(seed, batch):
    clips, mixed_targets = Mixing(0.0, 1.0)(numbered_clips(batch), torch.eye(batch), seed)
    for number in range(batch):
        neighbour = (number - 1) % batch
        came = clips[number] == neighbour
        assert (came | (clips[number] == number)).all()
        assert (came == came[:1, :1]).all()  # one box for all channels and frames
        expected = torch.zeros(batch)
        expected[number], expected[neighbour] = 1 - came.double().mean(), came.double().mean()
        torch.testing.assert_close(mixed_targets[number], expected)
        rows, columns = came[0, 0].any(1).sum(), came[0, 0].any(0).sum()
        assert came[0, 0].sum() == rows * columns


def test_mixup_mixes_clips_and_targets_by_one_share():
    clips, targets = random_clips(), torch.rand(4, 2, generator=torch.Generator().manual_seed(1))
    shares = []
    for seed in range(30):
        mixed, mixed_targets = Mixing(0.8, 0.0)(clips, targets, seed)
        others, labels = clips.roll(1, 0), targets.roll(1, 0)
        share = ((mixed - clips) * (others - clips)).sum() / (others - clips).square().sum()
        torch.testing.assert_close(mixed, clips + share * (others - clips), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mixed_targets, targets + share * (labels - targets), atol=1e-5, rtol=1e-5)
        shares.append(share.item())
    assert min(shares) < 0.15 and max(shares) > 0.85


def test_both_kinds_take_turns_and_the_seed_decides():
    clips, targets, mixing = numbered_clips(), torch.eye(4), Mixing(0.8, 1.0)
    before = torch.get_rng_state()
    made = [mixing(clips, targets, seed) for seed in range(200)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(clips, numbered_clips()) and torch.equal(targets, torch.eye(4))
    cut = sum((mixed == mixed.round()).all().item() for mixed, _ in made)
    assert 70 < cut < 130
    torch.rand(3)
    for seed in (7, 100):
        assert all(map(torch.equal, mixing(clips, targets, seed), made[seed]))
    assert all(type(part) is torch.Tensor for part in made[0])


def test_autocast_does_not_round_targets():
    with torch.autocast("cpu", torch.bfloat16):
        _, targets = Mixing(0.8, 0.0)(random_clips(), torch.eye(4), 1)
    assert targets.dtype == torch.float32 and torch.allclose(targets.sum(1), torch.ones(4), atol=1e-6)


def test_a_single_clip_or_no_mixing_is_left_alone():
    for mixing, batch in ((Mixing(0.8, 1.0), 1), (Mixing(0.0, 0.0), 3)):
        clips, targets = random_clips(batch), torch.eye(3)[:batch]
        mixed = mixing(clips, targets, 0)
        assert torch.equal(mixed[0], clips) and torch.equal(mixed[1], targets)


def test_erasing_fills_one_box_with_fresh_noise_in_every_frame():
    clips = torch.full((40, 3, 4, 30, 30), 9.0)
    erased = erase(clips, range(40), 1.0)
    assert (clips == 9).all()
    areas, values = [], []
    for clip in erased:
        box = clip != 9
        assert (box == box[:1, :1]).all()
        rows, columns = box[0, 0].any(1).sum().item(), box[0, 0].any(0).sum().item()
        assert box[0, 0].sum() == rows * columns > 0
        noise = clip[box].view(3 * 4, -1)
        assert len(noise.unique(dim=0)) == 12  # every frame and channel its own
        areas.append(rows * columns / 900)
        values.append(noise.flatten())
    assert 0.01 < min(areas) < 0.1 and 0.25 < max(areas) < 0.36
    noise = torch.cat(values)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02


def test_erasing_is_each_clips_own_affair():
    clips, seeds = random_clips(8), range(2**62, 2**62 + 8)
    before = torch.get_rng_state()
    together = erase(clips, seeds, 0.5)
    assert torch.equal(torch.get_rng_state(), before)
    order = [3, 1, 7, 0]
    assert torch.equal(erase(clips[order], [seeds[place] for place in order], 0.5), together[order])


def test_erasing_takes_the_share_it_is_told():
    clips, seeds = torch.zeros(400, 3, 1, 8, 8), range(400)
    assert erase(clips, seeds, 0.0) is clips
    changed = erase(clips, seeds, 0.25).flatten(1).any(dim=1).double().mean()
    assert 0.19 < changed < 0.31


def test_negative_strengths_are_refused():
    with pytest.raises(UserError, match=r"^mixup: -0.1"):
        Mixing(-0.1, 1.0)
    with pytest.raises(UserError, match=r"^cutmix: -1"):
        Mixing(0.0, -1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_same_boxes_and_shares_and_keeps_its_own_draws():
    clips, seeds, targets = random_clips(8), range(8), torch.eye(8)
    before = torch.cuda.get_rng_state()
    for seed in range(6):
        expected = Mixing(0.8, 1.0)(clips, targets, seed)
        found = Mixing(0.8, 1.0)(clips.cuda(), targets.cuda(), seed)
        torch.testing.assert_close(tuple(part.cpu() for part in found), expected)
    erased = [erase(clips.to(device), seeds, 0.5).cpu() != clips for device in ("cpu", "cuda")]
    assert torch.equal(*erased)
    assert torch.equal(torch.cuda.get_rng_state(), before)
