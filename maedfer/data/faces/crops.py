"""Cutting faces out: which frames of a track are stored, where they are cut, and the pixels.

Stored are 12.5 frames per second (the frame nearest to each point of that grid), or a source's own rate where
that is lower. A track shorter than a clip (2.4 s) keeps all its frames, so that nothing with the 16 frames of
a clip is lost. Long tracks are split into equal pieces.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from maedfer.constants import CLIP_SPAN_S, NUM_FRAMES
from maedfer.data.faces.tracks import FaceTrack
from maedfer.data.video.video_file import Frame


@dataclass(frozen=True)
class CropPlan:
    """The frames of one sample: `times` (F,), `areas` (F, 4) as (centre x, centre y, width, height), `angles`
    (F,) or None.

    Times may repeat where a source of uneven rate has no frame near a point of the grid. `face_ok` is the
    share of looks in which the face was seen, None when nobody looked.
    """

    times: np.ndarray
    fps: float
    areas: np.ndarray
    angles: np.ndarray | None
    face_ok: float | None

    @property
    def boxes(self) -> list[list[float]]:
        """The areas as `[x, y, w, h]`, in tenths of pixels."""
        corners = self.areas[:, :2] - self.areas[:, 2:] / 2
        return (np.column_stack([corners, self.areas[:, 2:]]).round(1) + 0.0).tolist()  # no -0.0


def plan_crops(
    track: FaceTrack,
    frame_times: np.ndarray,
    *,
    fps: float,
    margin: float,
    max_seconds: float,
    found: bool,
    min_frames: int = NUM_FRAMES,
) -> list[CropPlan]:
    """Plan the samples of a track; empty when it has fewer source frames than a sample must have.

    Args:
        track: The face.
        frame_times: Times of all frames of the source (all,), rising.
        fps: Stored frames per second, at most.
        margin: Share of the face box that is added on every side.
        max_seconds: Longest sample.
        found: Whether a detector really looked for the face.
        min_frames: Frames that a sample must have; the default is those of a clip.
    """
    inside = frame_times[(frame_times >= track.start_s - 1e-6) & (frame_times <= track.end_s + 1e-6)]
    if len(inside) < max(1, min_frames):
        return []
    plans = []
    for piece in np.array_split(inside, math.ceil((inside[-1] - inside[0]) / max_seconds - 1e-6) or 1):
        times, rate = stored_times(piece, fps)
        areas = track.areas(times, square=found)
        areas[:, 2:] *= 1 + 2 * margin
        seen = track.seen(piece[0], piece[-1]) if found else None
        plans.append(CropPlan(times, rate, areas, track.rotations(times), seen))
    return [plan for plan in plans if len(plan.times) >= min_frames]


def stored_times(times: np.ndarray, fps: float) -> tuple[np.ndarray, float]:
    """Choose the frames to store out of the frame times of a track, and the rate they are stored at.

    Args:
        times: (n,) rising, at least one; a single one has no rate and is given `fps`.
        fps: Stored frames per second, at most.

    Returns:
        Chosen frame times (F,), and their frames per second.
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
    """Read the source a second time and cut the planned areas out.

    Args:
        frames: The frames of the source in order of time, the same as were planned with.
        plans: What to cut.
        size: Side of the crops in pixels.

    Yields:
        Number of a plan and its crops, uint8 RGB (F, size, size, 3), as soon as its last frame has passed.
        Only the plans that are being cut are held in memory. A plan whose frames did not all come back is
        left out.
    """
    wanted: dict[float, list[tuple[int, int]]] = defaultdict(list)
    for number, plan in enumerate(plans):
        for position, time_s in enumerate(plan.times):
            wanted[round(time_s, 6)].append((number, position))
    crops: dict[int, list[np.ndarray]] = defaultdict(list)
    for frame in frames:
        asked = wanted.pop(round(frame.time_s, 6), ())
        picture = frame.picture() if asked else None
        for number, position in asked:
            plan = plans[number]
            angle = 0.0 if plan.angles is None else float(plan.angles[position])
            crops[number].append(cut_area(picture, plan.areas[position], angle, size))
            if len(crops[number]) == len(plan.times):
                yield number, np.stack(crops.pop(number))
        if not wanted:
            return


def cut_area(picture: np.ndarray, area: np.ndarray, angle: float, size: int) -> np.ndarray:
    """Cut one area out, turned so that a line of slope `angle` (degrees, y down) lies level; one that is no
    square is squeezed to it.

    An area larger than `size` is first reduced by area averaging, as a warp alone would leave out source
    pixels; what lies outside of the picture repeats its border.

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
    """The part of the picture that a turned area of this longer side can touch, with its left and top."""
    reach = side * math.sqrt(0.5) + 2
    height, width = picture.shape[:2]
    left, top = (int(np.clip(math.floor(at - reach), 0, most - 1)) for at, most in ((x, width), (y, height)))
    right, bottom = math.ceil(x + reach), math.ceil(y + reach)
    return left, top, picture[top : max(top + 1, bottom), left : max(left + 1, right)]
