"""Paints shapes and head poses as anti-aliased polygons on a supersampled canvas."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from maedfer.data.synthetic import features, head
from maedfer.data.synthetic.expressions import Curves
from maedfer.data.synthetic.faces import Identity
from maedfer.data.synthetic.outlines import Shape

MIN_CANVAS = 96
"""Small frames are painted on a canvas of at least this side and averaged down."""

FRACTION_BITS = 4
"""Polygon corners are rounded to 1/16 of a canvas pixel, which also hides last digits that differ between
machines."""


class HeadPose(NamedTuple):
    """Pose of the head in every frame, each `(F,)`: shifts in half frames, angles in radians, scale 1 for an
    aligned crop.
    """

    x: np.ndarray
    y: np.ndarray
    roll: np.ndarray
    scale: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray


def face_shapes(person: Identity, move: Curves, light_x: float) -> list[Shape]:
    """Returns all shapes of a person in motion, back to front."""
    return [
        *head.behind(person),
        *head.skin(person, move, light_x),
        *features.folds(person, move),
        *features.nose(person, move),
        *features.eyes(person, move),
        *features.mouth(person, move),
        *features.brows(person, move),
        *head.in_front(person),
    ]


def paint(shapes: list[Shape], pose: HeadPose, background: np.ndarray, size: int) -> np.ndarray:
    """Paints every frame of a clip.

    Args:
        shapes: Back to front; soft ones come first whatever their place.
        pose: Head pose over the frames.
        background: uint8 `(canvas_size(size), canvas_size(size), 3)`.
        size: Side of the frames in pixels.

    Returns:
        uint8 `(F, size, size, 3)`.
    """
    count, canvas = len(pose.x), len(background)
    layers = [
        [
            (_corners(shape, pose, canvas), _colours(shape, count), shape.shown)
            for shape in shapes
            if shape.soft is soft
        ]
        for soft in (True, False)
    ]
    kernel = canvas // 32 * 2 + 1
    frames = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        picture = background.copy()
        _fill(picture, layers[0], index)
        picture = cv2.GaussianBlur(picture, (kernel, kernel), 0)
        _fill(picture, layers[1], index)
        frames[index] = (
            picture if canvas == size else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        )
    return frames


def canvas_size(size: int) -> int:
    """Returns the side of the canvas: the smallest multiple of `size` that is at least `MIN_CANVAS`."""
    return size * -(-MIN_CANVAS // size)


def _fill(picture: np.ndarray, layer: list[tuple[Any, ...]], index: int) -> None:
    """Fills the polygons of one frame; a layer lists corners, colours and visible frames of each shape."""
    for outlines, colours, shown in layer:
        if shown is None or shown[index]:
            corners = [outline[index] for outline in outlines]
            cv2.fillPoly(picture, corners, colours[index], cv2.LINE_AA, FRACTION_BITS)


def _corners(shape: Shape, pose: HeadPose, canvas: int) -> list[np.ndarray]:
    """Turns outlines with the head, into fixed-point canvas pixels, int32 `(F, P, 2)` each."""
    cos, sin = pose.scale * np.cos(pose.roll), pose.scale * np.sin(pose.roll)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)
    lean = np.stack([np.sin(pose.yaw), np.sin(pose.pitch)], axis=-1)[:, None] * shape.depth
    squeeze = np.stack([np.cos(pose.yaw), np.cos(pose.pitch)], axis=-1)[:, None]
    shift = np.stack([pose.x, pose.y], axis=-1)[:, None]
    unit = canvas / 2 * (1 << FRACTION_BITS)
    placed = [(outline * squeeze + lean) @ turn + shift for outline in shape.outlines]
    return [np.rint((points + 1) * unit - 0.5 * (1 << FRACTION_BITS)).astype(np.int32) for points in placed]


def _colours(shape: Shape, count: int) -> list[tuple[int, ...]]:
    """Returns the colour of every frame as integers."""
    colours = np.broadcast_to(np.clip(np.rint(shape.colour), 0, 255).astype(int), (count, 3))
    return [tuple(colour) for colour in colours.tolist()]
