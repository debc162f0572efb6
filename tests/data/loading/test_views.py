"""Views: their boxes, and the one device operation against torchvision."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.data.loading.views import FULL_BOX, MULTI_SCALES, ViewSpec, prepare_clips
from maedfer.errors import UserError


def clips_of(batch=2, frames=4, height=40, width=48):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, frames, 3, height, width), dtype=torch.uint8, generator=generator)


def reference(clip, left, top, width, height, size, flip):
    """float32 (3, T, size, size) of one uint8 clip (T, 3, H, W), crop box in whole pixels, by torchvision."""
    steps = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD))]
    image = v2.functional.resized_crop(
        v2.Compose(steps)(clip), top, left, height, width, [size, size], antialias=False
    )
    return (image.flip(-1) if flip else image).transpose(0, 1)


def test_a_full_box_at_equal_size_is_the_identity():
    clips = clips_of(height=32, width=32)
    found = prepare_clips(clips, torch.tensor([FULL_BOX] * 2), torch.zeros(2, dtype=torch.bool), 32)
    expected = torch.stack([reference(clip, 0, 0, 32, 32, 32, False) for clip in clips])
    assert found.shape == (2, 3, 4, 32, 32) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("box", [(0, 0, 48, 40), (3, 5, 24, 24), (20, 0, 28, 30), (7, 9, 31, 17)])
@pytest.mark.parametrize(("size", "flip"), [(24, False), (48, True)])
def test_boxes_agree_with_torchvision(box, size, flip):
    clips = clips_of()
    left, top, width, height = box
    shares = torch.tensor([[left / 48, top / 40, width / 48, height / 40]]).repeat(2, 1)
    found = prepare_clips(clips, shares, torch.tensor([flip, not flip]), size)
    expected = torch.stack([reference(clips[0], *box, size, flip), reference(clips[1], *box, size, not flip)])
    # torchvision repeats the last row of an enlarged crop, here its neighbour in the frame is used
    edge = int(np.ceil(size / min(width, height)))
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    torch.testing.assert_close(found[inner], expected[inner], atol=2e-4, rtol=1e-4)


def test_channels_last_memory_and_autocast_change_nothing():
    clips, boxes = clips_of(), torch.tensor([[0.1, 0.2, 0.5, 0.6], FULL_BOX])
    flips = torch.tensor([True, False])
    plain = prepare_clips(clips, boxes, flips, 20)
    strided = clips.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = prepare_clips(strided, boxes, flips, 20)
    assert found.dtype == torch.float32 and torch.equal(found, plain)


@pytest.mark.parametrize("crop", ["resized", "multi_scale", "none"])
def test_boxes_lie_inside_the_frame(crop):
    spec, rng = ViewSpec(crop, crop_scale=(0.2, 1.0), flip=0.5), np.random.default_rng(0)
    views = [spec.draw(rng, 60, 90) for _ in range(300)]
    boxes = np.array([box for box, _ in views])
    assert (boxes >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-9).all()
    assert 90 < sum(flip for _, flip in views) < 210
    areas, aspects = boxes[:, 2] * boxes[:, 3], boxes[:, 2] * 90 / (boxes[:, 3] * 60)
    if crop == "resized":
        assert areas.min() >= 0.2 - 1e-9 and areas.max() > 0.85
        assert aspects.min() >= 3 / 4 - 1e-9 and aspects.max() <= 4 / 3 + 1e-9
    if crop == "multi_scale":
        assert set(np.round(boxes[:, 3], 6)) == set(MULTI_SCALES)
        assert aspects.max() <= 1 / 0.66 and len({tuple(box) for box in boxes}) > 80


def test_a_crop_that_cannot_fit_falls_back_to_the_centre():
    box, _ = ViewSpec("resized", crop_scale=(1.0, 1.0)).draw(np.random.default_rng(0), 100, 300)
    assert box == pytest.approx(((1 - 4 / 9) / 2, 0.0, 4 / 9, 1.0))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop": "square"}, "^crop: square"),
        ({"crop_scale": (0.9, 0.5)}, "^crop_scale: "),
        ({"crop_aspect": (2.0, 1.0)}, "^crop_aspect: "),
        ({"flip": 1.5}, "^flip: 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(UserError, match=message):
        ViewSpec(**setting)
