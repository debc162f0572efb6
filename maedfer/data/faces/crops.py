"""Cuts faces out: chooses the frames of a track to store and the areas to cut, and cuts the pixels.

12.5 frames per second are stored (the frame nearest to each point of that grid), or the source's own rate
where that is lower. A track shorter than a clip (2.4 s) keeps all its frames, so that no track with the 16
frames of a clip is lost. Long tracks are split into equal pieces.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from maedfer.constants import CLIP_SPAN_S
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.tracks import FaceTrack
from maedfer.data.video.video import Frame


@dataclass(frozen=True)
class CropPlan:
    """The frames of one clip.

    Attributes:
        times: Seconds (F,); they repeat where a source of uneven rate has no frame near a point of the grid.
        fps: Frames per second.
        areas: Areas to cut (F, 4) as (centre x, centre y, width, height).
        angles: Degrees by which crops are turned (F,), or None.
        face_ok: Share of the looks in which the face was seen; None for `none`, which does not look.
    """

    times: np.ndarray
    fps: float
    areas: np.ndarray
    angles: np.ndarray | None
    face_ok: float | None

    @property
    def boxes(self) -> list[list[float]]:
        """The areas as `[x, y, w, h]` in pixels, rounded to tenths."""
        corners = self.areas[:, :2] - self.areas[:, 2:] / 2
        return (np.column_stack([corners, self.areas[:, 2:]]).round(1) + 0.0).tolist()  # without -0.0


def plan_crops(track: FaceTrack, frame_times: np.ndarray, crop: CropSettings) -> list[CropPlan]:
    """Plans the clips of a track; none if it has fewer source frames than a clip must have.

    Args:
        track: The face.
        frame_times: Times of all frames of the source, float64 (all,), rising.
        crop: Rate, margin, and shortest and longest clip.
    """
    first = np.searchsorted(frame_times, track.start_s - 1e-6, "left")
    inside = frame_times[first : np.searchsorted(frame_times, track.end_s + 1e-6, "right")]
    if len(inside) < max(1, crop.min_frames):
        return []
    pieces = math.ceil((inside[-1] - inside[0]) / crop.max_seconds - 1e-6) or 1
    plans = []
    for piece in np.array_split(inside, pieces):
        times, rate = stored_times(piece, crop.fps)
        areas = track.areas(times, square=crop.finds_faces)
        areas[:, 2:] *= 1 + 2 * (crop.margin if crop.finds_faces else 0.0)
        seen = track.seen(piece[0], piece[-1]) if crop.finds_faces else None
        plans.append(CropPlan(times, rate, areas, track.rotations(times), seen))
    return [plan for plan in plans if len(plan.times) >= crop.min_frames]


def stored_times(times: np.ndarray, fps: float) -> tuple[np.ndarray, float]:
    """Chooses the frames to store from the frame times of a track.

    Args:
        times: (n,) rising, at least one; the rate of a single one is `fps`.
        fps: Stored frames per second, at most.

    Returns:
        The chosen times (F,), and their frames per second.
    """
    span = times[-1] - times[0]
    rate = (len(times) - 1) / span if span else fps
    if span < CLIP_SPAN_S - 1e-6:
        return times, rate
    fps = min(fps, rate)
    grid = times[0] + np.arange(math.floor(span * fps + 1e-3) + 1) / fps
    right = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
    return np.where(grid - times[right - 1] <= times[right] - grid, times[right - 1], times[right]), fps


def cut_crops(frames: Iterable[Frame], plans: list[CropPlan], size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Cuts the planned areas out of the frames of a source, which is read a second time.

    Pixels are held only for the plans whose first frame has passed and whose last has not.

    Args:
        frames: The frames of the source in order of time, the same that the plans were made with.
        plans: Times and areas to cut.
        size: Side of the crops in pixels.

    Yields:
        Index of a plan and its crops, uint8 RGB (F, size, size, 3), as soon as its last frame has passed. A
        plan of which a frame does not come again is left out.
    """
    done = [0] * len(plans)

    def next_s(number: int) -> float:  # NumPy rounds halves of a microsecond differently than Python
        return round(float(plans[number].times[done[number]]), 6)

    waiting = deque(sorted(range(len(plans)), key=next_s))
    pixels: dict[int, np.ndarray] = {}
    for frame in frames:
        now = round(frame.time_s, 6)
        while waiting and next_s(waiting[0]) <= now:
            number = waiting.popleft()
            pixels[number] = np.empty((len(plans[number].times), size, size, 3), np.uint8)
        asked = [number for number in sorted(pixels) if next_s(number) == now]
        picture = frame.picture() if asked else np.empty(0)
        for number in asked:
            plan, crops = plans[number], pixels[number]
            while done[number] < len(crops) and next_s(number) == now:
                at = done[number]
                angle = 0.0 if plan.angles is None else float(plan.angles[at])
                crops[at] = cut_area(picture, plan.areas[at], angle, size)
                done[number] += 1
            if done[number] == len(crops):
                yield number, pixels.pop(number)
        for number in [number for number in pixels if next_s(number) <= now]:
            del pixels[number]  # a frame of it was lost
        if not waiting and not pixels:
            return


def cut_area(picture: np.ndarray, area: np.ndarray, angle: float, size: int) -> np.ndarray:
    """Cuts one area out, turned so that a line of slope `angle` (degrees, y down) becomes level.

    An area that is not square is squeezed to one. An area larger than `size` is first reduced by area
    averaging, as a warp alone would skip source pixels. The border of the picture is repeated beyond it.

    Args:
        picture: uint8 RGB (H, W, 3).
        area: Centre x, centre y, width and height in pixels of the picture.
        angle: Degrees.
        size: Side of the crop in pixels.

    Returns:
        uint8 RGB (size, size, 3).
    """
    x, y, *sides = (float(value) for value in area)
    left, top, region = _around(picture, x, y, max(sides))
    shrink = [max(1.0, side / size) for side in sides]
    small_size = [max(1, round(n / by)) for n, by in zip(region.shape[1::-1], shrink, strict=True)]
    small = cv2.resize(region, small_size, interpolation=cv2.INTER_AREA) if max(shrink) > 1 else region
    scale = np.array([small.shape[1] / region.shape[1], small.shape[0] / region.shape[0]])
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[cos, -sin], [sin, cos]]) * sides / size * scale[:, None]
    # pixel centres lie at halves: u -> centre + turn (u + 1/2 - size/2) - 1/2
    shift = (np.array([x - left, y - top])) * scale + turn @ np.full(2, 0.5 - size / 2) - 0.5
    return cv2.warpAffine(
        small,
        np.column_stack([turn, shift]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _around(picture: np.ndarray, x: float, y: float, side: float) -> tuple[int, int, np.ndarray]:
    """Returns left, top and pixels of the part that a turned area of this longer side can touch."""
    reach = side * math.sqrt(0.5) + 2
    height, width = picture.shape[:2]
    left, top = (int(np.clip(math.floor(at - reach), 0, most - 1)) for at, most in ((x, width), (y, height)))
    right, bottom = math.ceil(x + reach), math.ceil(y + reach)
    return left, top, picture[top : max(top + 1, bottom), left : max(left + 1, right)]
