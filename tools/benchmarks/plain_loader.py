"""The plain way to load clips: what upstream's pre-training loader does, step by step, in plain words.

A video file is opened for every clip and 16 frames are decoded at its full 224 px. Each becomes a PIL image,
loses the border that upstream cuts from VoxCeleb2, is cropped and resized by itself; the clip is turned to
floats and normalised on the CPU, and travels to the main process as float32.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch.utils.data import Dataset

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD, NUM_FRAMES
from maedfer.data.loading.views import MULTI_PLACES, MULTI_SCALES
from maedfer.errors import UserError
from maedfer.models.masking import MaskSpec

SIZE = 160
STRIDE = 4
"""Source frames from one frame of a clip to the next."""

FACE = (32, 0, 192, 160)
"""Left, upper, right, lower border of the part of a VoxCeleb2 frame that upstream keeps."""

FACE_SHARE = (1 / 7, 0.0, 5 / 7, 5 / 7)
"""The same part as left, top, width, height in shares of a frame of 224 px."""

Borders = tuple[int, int, int, int]


class PlainClip(NamedTuple):
    """A clip float32 (3, T, 160, 160), normalised, and its mask bool (N,); the DataLoader makes batches."""

    clips: torch.Tensor
    masks: torch.Tensor


class PlainClips(Dataset):
    """A clip and a mask per item.

    Args:
        videos: files at 224 px and 25 frames per second; item i is of video i modulo their number.
        length: items.
        masks: how masks are drawn.
    """

    def __init__(self, videos: Sequence[Path], length: int, masks: MaskSpec) -> None:
        self._videos, self._length, self._masks = [str(path) for path in videos], length, masks

    def __len__(self) -> int:
        """Items."""
        return self._length

    def __getitem__(self, index: int) -> PlainClip:
        """Decode, crop, resize, normalise, draw a mask."""
        rng = np.random.default_rng(index)
        frames = plain_frames(self._videos[index % len(self._videos)], rng)
        kept = [Image.fromarray(frame).crop(FACE) for frame in frames]
        clip = plain_clip(kept, multi_scale_borders(rng, *kept[0].size))
        return PlainClip(clip, torch.from_numpy(self._masks.draw(rng)))


def plain_frames(path: str, rng: np.random.Generator) -> np.ndarray:
    """16 frames of a video, four apart, from a random one on: uint8 (T, H, W, 3).

    A short video repeats its last frame.
    """
    reader = open_video(path)
    start = int(rng.integers(max(1, len(reader) - NUM_FRAMES * STRIDE + 1)))
    return reader.get_batch(plain_indices(start, len(reader)).tolist()).asnumpy()


def require_decord() -> None:
    """Find out whether the plain way can read videos.

    Raises:
        UserError: decord is not installed.
    """
    if importlib.util.find_spec("decord") is None:
        raise UserError(
            None,
            "the plain way needs decord: pip install decord (it has wheels for Linux on x86-64 and Windows)",
        )


def open_video(path: str) -> Any:
    """A decord reader that decodes on one thread."""
    import decord

    return decord.VideoReader(path, num_threads=1)


def plain_indices(start: int, frames: int) -> np.ndarray:
    """Frame numbers of a clip, int64 (T,)."""
    return np.minimum(start + STRIDE * np.arange(NUM_FRAMES), frames - 1)


def multi_scale_borders(rng: np.random.Generator, width: int, height: int) -> Borders:
    """VideoMAE's crop in whole pixels: two sides of a list, one step apart at most, at one of 13 places."""
    sides = [int(min(width, height) * scale) for scale in MULTI_SCALES]
    near = [(i, j) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= 1]
    wide, high = (sides[choice] for choice in near[rng.integers(len(near))])
    column, row = MULTI_PLACES[rng.integers(len(MULTI_PLACES))]
    left, upper = column * ((width - wide) // 4), row * ((height - high) // 4)
    return left, upper, left + wide, upper + high


def plain_clip(images: Sequence[Image.Image], borders: Borders) -> torch.Tensor:
    """Crop and resize every image, stack, normalise: float32 (3, T, 160, 160)."""
    resized = [image.crop(borders).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for image in images]
    stacked = np.concatenate([np.asarray(image) for image in resized], axis=2)
    pixels = rearrange(torch.from_numpy(stacked), "h w (t c) -> t c h w", c=3).contiguous().float().div(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return rearrange(pixels.sub_(mean).div_(std), "t c h w -> c t h w")
