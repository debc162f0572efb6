"""Detects changes of the shot from two successive thumbnails."""

from __future__ import annotations

import numpy as np

SHOT_COLOURS, SHOT_PIXELS = 0.5, 20.0
"""A shot changes when half of the colour histogram and, on average, 20 of 255 levels of each pixel change."""


def shot_changed(before: np.ndarray, now: np.ndarray) -> bool:
    """Returns True if two successive uint8 RGB thumbnails (h, w, 3) belong to different shots.

    Both colours and pixels must change: colours alone change when a flat area crosses the border of a
    histogram bin, pixels alone when the camera moves.
    """
    if np.abs(before.astype(np.int16) - now).mean() < SHOT_PIXELS:
        return False
    moved = np.abs(_colours(before) - _colours(now)).sum() / 2
    return bool(moved > SHOT_COLOURS)


def _colours(thumbnail: np.ndarray) -> np.ndarray:
    """Returns the share of the pixels in each of 4 x 4 x 4 colour bins (64,)."""
    bins = (thumbnail >> 6).reshape(-1, 3) @ np.array([16, 4, 1])
    return np.bincount(bins, minlength=64) / len(bins)
