"""Polygons over time, with which the faces are painted.

An outline is `(F, P, 2)`, or `(1, P, 2)` when it is the same in every frame, in half frames (see `faces.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLACK = np.zeros(3)
WHITE = np.full(3, 255.0)


@dataclass(frozen=True)
class Shape:
    """Outlines of one colour.

    Attributes:
        outlines: One or several closed polygons, each `(F, P, 2)` or `(1, P, 2)`.
        colour: RGB, `(3,)`, or `(F, 3)` where it changes.
        depth: Distance in front of the axis of the head: its movement per radian of yaw or pitch.
        soft: Blurred together with the other soft shapes, behind the sharp ones.
        shown: Frames in which it is painted, bool `(F,)`; None for all.
    """

    outlines: tuple[np.ndarray, ...]
    colour: np.ndarray
    depth: float = 0.25
    soft: bool = False
    shown: np.ndarray | None = None


def still(points: list[tuple[float, float]] | np.ndarray) -> np.ndarray:
    """Returns points `(P, 2)` as an outline that does not move."""
    return np.asarray(points, dtype=np.float64)[None]


def moved(points: np.ndarray, dx: np.ndarray | float, dy: np.ndarray | float) -> np.ndarray:
    """Returns points `(P, 2)` shifted by `(F,)` or a constant."""
    shift = np.stack(np.broadcast_arrays(np.atleast_1d(dx), np.atleast_1d(dy)), axis=-1)
    return points[None] + shift[:, None]


def joined(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the outline of coordinates `(P,)` or `(F, P)`."""
    x, y = np.broadcast_arrays(np.atleast_2d(x), np.atleast_2d(y))
    return np.stack([x, y], axis=-1)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, points: int = 16) -> np.ndarray:
    """Returns points `(P, 2)` on an ellipse."""
    angle = np.linspace(0, 2 * np.pi, points + 1)[:-1]
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=-1)


def ring(x: float, y: float, radius_x: float, radius_y: float, width: float) -> np.ndarray:
    """Returns an elliptic ring: the outer edge, then the inner one; the even-odd rule fills between."""
    outer = ellipse(x, y, radius_x, radius_y, 20)
    inner = ellipse(x, y, radius_x - width, radius_y - width, 20)
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def band(x: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Returns the area between two curves over the same `x`; coordinates `(P,)` or `(F, P)`."""
    top, bottom = joined(x, upper), joined(x, lower)
    if len(top) != len(bottom):
        top, bottom = np.broadcast_arrays(top, bottom)
    return np.concatenate([top, bottom[:, ::-1]], axis=1)


def ribbon(x: np.ndarray, y: np.ndarray, half_width: np.ndarray | float) -> np.ndarray:
    """Returns a curve `(P,)` or `(F, P)` as a band of the given half width across its direction."""
    line = joined(x, y)
    along = np.gradient(line, axis=1)
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    offset = normal * np.broadcast_to(half_width, line.shape[1:2])[:, None]
    return np.concatenate([line - offset, (line + offset)[:, ::-1]], axis=1)


def between(outline: np.ndarray, x: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Cuts an outline off above `upper` and below `lower`, curves `(F, P)` over an ascending `x` `(P,)`."""
    cut = np.broadcast_to(outline, (len(upper), *outline.shape[1:])).copy()
    for frame, top, bottom in zip(cut, upper, lower, strict=True):
        frame[:, 1] = np.clip(frame[:, 1], np.interp(frame[:, 0], x, top), np.interp(frame[:, 0], x, bottom))
    return cut


def mix(first: np.ndarray, second: np.ndarray, amount: np.ndarray | float) -> np.ndarray:
    """Mixes two colours; `amount` is the share of the second."""
    return first + amount * (second - first)
