"""Draws views of clips on the CPU as a few numbers, and applies them on the device in one operation.

A worker only draws a crop box in relative coordinates and whether to flip; frames stay uint8 as they are
stored. `prepare_clips` then crops, resizes, flips and normalises a whole batch at once on the model's device.
One view serves all frames of a clip.

Crops: `resized` is the usual random area and aspect; `multi_scale` is what upstream pre-trains with (sides of
1, 0.875, 0.75 or 0.66 of the short side, at most one step apart, at 13 fixed places: VideoMAE's
GroupMultiScaleCrop). Departures from upstream: boxes are not rounded to whole pixels, and nothing is smoothed
before a reduction (pack at about the training size; crops are then enlarged, never much reduced).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.errors import UserError

Crop = Literal["resized", "multi_scale", "none"]

Box = tuple[float, float, float, float]

FULL_BOX: Box = (0.0, 0.0, 1.0, 1.0)
"""The whole frame as (left, top, width, height) in shares of the frame."""

MULTI_SCALES = (1.0, 0.875, 0.75, 0.66)
"""Sides of a multi-scale crop, in shares of the frame's short side."""

MULTI_PLACES = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)),
)
"""Possible places of a multi-scale crop: (left, top) in quarters of the free space."""


@dataclass(frozen=True)
class ViewSpec:
    """Draws views.

    Attributes:
        crop: Kind of crop.
        crop_scale: Range of the area of a `resized` crop, in shares of the frame.
        crop_aspect: Range of its width over its height.
        flip: Probability of a mirrored view.
        frame_crop: Part of the stored frame that views are drawn from.

    Raises:
        UserError: a range is empty or a share is not between 0 and 1.
    """

    crop: Crop = "none"
    crop_scale: tuple[float, float] = (0.5, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    frame_crop: Box = FULL_BOX

    def __post_init__(self) -> None:
        if self.crop not in ("resized", "multi_scale", "none"):
            raise UserError("crop", f"{self.crop} is unknown: take resized, multi_scale or none")
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise UserError("crop_scale", f"{list(self.crop_scale)} must be two rising shares in (0, 1]")
        if not 0 < self.crop_aspect[0] <= self.crop_aspect[1]:
            raise UserError("crop_aspect", f"{list(self.crop_aspect)} must be two rising positive ratios")
        if not 0 <= self.flip <= 1:
            raise UserError("flip", f"{self.flip} must be a probability between 0 and 1")
        left, top, width, height = self.frame_crop
        if min(left, top) < 0 or min(width, height) <= 0 or max(left + width, top + height) > 1 + 1e-6:
            raise UserError(
                "frame_crop", f"{list(self.frame_crop)} must be left, top, width, height, inside the frame"
            )

    def draw(self, rng: np.random.Generator, height: int, width: int) -> tuple[Box, bool]:
        """Draws a box (left, top, width, height) in shares of a frame of this size, and whether to flip."""
        x, y, across, down = self.frame_crop
        if self.crop == "none":
            box = FULL_BOX
        else:
            draw = self._resized if self.crop == "resized" else _multi_scale
            box = draw(rng, height * down, width * across)
        left, top, box_width, box_height = box
        box = (x + left * across, y + top * down, box_width * across, box_height * down)
        return box, bool(rng.random() < self.flip)

    def _resized(self, rng: np.random.Generator, height: float, width: float) -> Box:
        """Draws a box of random area and log-uniform aspect; after ten misfits, the largest centred one."""
        low, high = np.log(self.crop_aspect)
        for _ in range(10):
            area = rng.uniform(*self.crop_scale) * height * width
            aspect = np.exp(rng.uniform(low, high))
            box_width, box_height = np.sqrt(area * aspect) / width, np.sqrt(area / aspect) / height
            if box_width <= 1 and box_height <= 1:
                left, top = rng.random() * (1 - box_width), rng.random() * (1 - box_height)
                return float(left), float(top), float(box_width), float(box_height)
        aspect = float(np.clip(width / height, *self.crop_aspect))
        box_width, box_height = min(1.0, aspect * height / width), min(1.0, width / aspect / height)
        return (1 - box_width) / 2, (1 - box_height) / 2, box_width, box_height


def _multi_scale(rng: np.random.Generator, height: float, width: float) -> Box:
    """Draws upstream's crop: two sides at most one step of scale apart, at one of 13 places."""
    steps = range(len(MULTI_SCALES))
    pairs = [(i, j) for i in steps for j in steps if abs(i - j) <= 1]
    wide, high = pairs[rng.integers(len(pairs))]
    left, top = MULTI_PLACES[rng.integers(len(MULTI_PLACES))]
    short = min(height, width)
    box_width, box_height = MULTI_SCALES[wide] * short / width, MULTI_SCALES[high] * short / height
    return left / 4 * (1 - box_width), top / 4 * (1 - box_height), box_width, box_height


@torch.no_grad()
def prepare_clips(clips: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor, size: int) -> torch.Tensor:
    """Crops, resizes, flips and normalises a batch of clips, on the device they are on, in fp32.

    Frames and channels share the channel axis, so that one sampling grid serves a clip. Bilinear, half-pixel
    centres; at the edge of a box its neighbours in the frame are used, beyond the frame its last pixels.

    Args:
        clips: uint8 (B, T, 3, H, W).
        boxes: (B, 4): left, top, width, height in shares of the frame.
        flips: bool (B,): which clips are mirrored, after cropping.
        size: Side of the result in pixels.

    Returns:
        float32 (B, 3, T, size, size), normalised with ImageNet's mean and deviation.
    """
    left, top, width, height = boxes.to(torch.float32).unbind(1)
    mirror = torch.where(flips, -1.0, 1.0).to(width)
    zero = torch.zeros_like(width)
    rows = [width * mirror, zero, 2 * left + width - 1, zero, height, 2 * top + height - 1]
    with torch.autocast(clips.device.type, enabled=False):
        grid = F.affine_grid(
            rearrange(torch.stack(rows, 1), "b (row column) -> b row column", row=2),
            [len(clips), 1, size, size],
            align_corners=False,
        )
        frames = rearrange(clips, "b t c h w -> b (t c) h w").to(torch.float32)
        frames = F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False)
        frames = rearrange(frames, "b (t c) h w -> b c t h w", c=3)
        mean, std = (rearrange(frames.new_tensor(v), "c -> c 1 1 1") for v in (IMAGENET_MEAN, IMAGENET_STD))
        return torch.addcmul(-mean / std, frames, 1 / (255 * std))
