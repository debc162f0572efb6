"""The moving parts of a face: folds, nose, eyes, mouth and brows as outlines, driven by the channels."""

from __future__ import annotations

import numpy as np

from maedfer.data.synthetic.expressions import Curves
from maedfer.data.synthetic.faces import Identity
from maedfer.data.synthetic.outlines import (
    BLACK,
    WHITE,
    Shape,
    band,
    between,
    ellipse,
    joined,
    mix,
    moved,
    ribbon,
    still,
)

SIDES = (-1, 1)

FAINT = 0.1
"""Folds weaker than this would not be seen and are not painted."""


def folds(person: Identity, move: Curves) -> list[Shape]:
    """Draws the lines beside the mouth, between the brows and across the nose: the stronger, the darker."""
    fold = _column(np.clip(0.75 * move.cheek + 0.8 * move.upper_lip + 0.25 * move.wrinkle, 0, 1))
    furrow = _column(np.clip(move.brow_frown, 0, 1))
    wrinkle = _column(np.clip(move.wrinkle, 0, 1))
    x = np.linspace(-0.08, 0.08, 5)
    bars = tuple(still(ribbon(x, y + 0.02 * np.cos(20 * x), 0.010)[0]) for y in (-0.10, -0.035))
    lines = [
        (_furrows(person, furrow), furrow, 0.34, 0.3),
        (bars, wrinkle, 0.32, 0.4),
    ]
    if not person.beard:  # which would hide them
        lines.append((_nasolabial(person, move), fold, 0.30, 0.3))
    return [
        Shape(outlines, person.skin * (1 - dark * strength), depth, shown=strength[:, 0] > FAINT)
        for outlines, strength, dark, depth in lines
    ]


def _nasolabial(person: Identity, move: Curves) -> tuple[np.ndarray, ...]:
    """Draws the two folds beside the nose."""
    s, t = person.shape, np.linspace(0, 1, 6)
    corner = _column(s["mouth_width"] * (1 + 0.3 * move.stretch) + 0.075)
    x = s["nose_width"] + 0.03 + (corner - s["nose_width"]) * t**1.3
    y = s["nose_y"] + 0.01 + (s["mouth_y"] - 0.06 - s["nose_y"]) * t - 0.05 * _column(move.smile) * t
    return tuple(ribbon(side * x, y, 0.015 * np.sin(np.pi * (0.1 + 0.8 * t))) for side in SIDES)


def _furrows(person: Identity, furrow: np.ndarray) -> tuple[np.ndarray, ...]:
    """Draws the two upright lines between the brows."""
    t = np.linspace(0, 1, 4)
    y = person.shape["brow_y"] - 0.02 + 0.12 * t + 0.04 * furrow
    return tuple(ribbon(side * (0.045 - 0.012 * furrow) + 0 * t, y, 0.010) for side in SIDES)


def nose(person: Identity, move: Curves) -> list[Shape]:
    """Draws a shaded flank, the underside and two nostrils; wrinkling pulls them up and apart."""
    width, tip = person.shape["nose_width"], person.shape["nose_y"]
    lift = -0.05 * move.wrinkle - 0.015 * move.upper_lip
    flank = [(0.035, -0.16), (0.055, -0.05), (width * 0.95, tip + 0.01), (0.045, tip - 0.01), (0.02, -0.05)]
    under_x = width * np.array([-1, -0.8, 0, 0.8, 1, 0.5, 0, -0.5])
    under_y = tip + np.array([-0.02, 0.035, 0.06, 0.035, -0.02, 0.02, 0.025, 0.02])
    holes = tuple(
        moved(ellipse(side * width * 0.48, tip + 0.022, 0.034, 0.017, 8), 0.02 * side * move.wrinkle, lift)
        for side in SIDES
    )
    return [
        Shape((still(flank),), person.skin * 0.88, 0.45),
        Shape((moved(joined(under_x, under_y)[0], 0.0, lift),), person.skin * 0.76, 0.5),
        Shape(holes, person.skin * 0.36, 0.5),
    ]


def eyes(person: Identity, move: Curves) -> list[Shape]:
    """Draws white, iris, pupil and glint cut by the lids, then lashes and the fold of the upper lid."""
    parts: dict[str, list[np.ndarray]] = {}
    for side in SIDES:
        for name, outline in _eye(person, move, side).items():
            parts.setdefault(name, []).append(outline)
    colours = {
        "fold": person.skin * 0.66,
        "white": np.array((240.0, 238, 236)),
        "iris": person.iris,
        "pupil": BLACK + 14,
        "glint": WHITE,
        "lash": mix(person.hair, BLACK, 0.6),
    }
    return [Shape(tuple(outlines), colours[name], 0.3) for name, outlines in parts.items()]


def _eye(person: Identity, move: Curves, side: int) -> dict[str, np.ndarray]:
    """Returns the outlines of one eye in painting order."""
    s, u = person.shape, np.linspace(-1, 1, 11)
    x = side * s["eye_x"] + s["eye_width"] * u
    upper, lower = _lids(person, move, u, side)
    centre_x = side * s["eye_x"] + 0.05 * move.gaze_x
    centre_y = s["eye_y"] + 0.025 * move.gaze_y
    radius = s["eye_width"] * 0.5
    bow = np.sqrt(1 - u**2)
    outlines = {"fold": ribbon(x, upper - 0.034 - 0.012 * bow, 0.007), "white": band(x, upper, lower)}
    for name, size, offset in (("iris", 1.0, 0.0), ("pupil", 0.5, 0.0), ("glint", 0.25, 0.35)):
        disc = ellipse(offset * radius, -offset * radius, size * radius, size * radius, 14)
        outlines[name] = between(moved(disc, centre_x, centre_y), x, upper, lower)
    outlines["lash"] = ribbon(x, upper, 0.012 + 0.012 * bow)
    return outlines


def _lids(person: Identity, move: Curves, u: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the edges of the upper and the lower lid, `(F, P)`, over `u` from corner to corner."""
    s, blink = person.shape, _column(np.clip(move.blink, 0, 1))
    bow = 0.6 * np.sqrt(1 - u**2) + 0.4 * (1 - u**2)
    high = s["eye_height"] * _column(np.clip(1 + 0.75 * move.eye_wide - 0.12 * move.squint, 0.25, 1.9))
    low = s["eye_height"] * 0.72 * _column(np.clip(1 - 0.85 * move.squint + 0.15 * move.eye_wide, 0.1, 1.3))
    line = s["eye_y"] - side * s["eye_tilt"] * u
    return line + bow * ((0.85 * low + high) * blink - high), line + bow * low


def mouth(person: Identity, move: Curves) -> list[Shape]:
    """Draws the two lips, the cavity between them (a dark line when shut) and the upper teeth."""
    s, u = person.shape, np.linspace(-1, 1, 15)
    arch = 1 - u**2
    jaw, lift = _column(np.clip(move.jaw, 0, 1.3)), _column(np.clip(move.upper_lip, 0, 1.3))
    smile, thin = _column(move.smile), _column(np.clip(1 - 0.6 * move.press, 0.15, 1.2))
    x = s["mouth_width"] * (1 + 0.32 * _column(move.stretch) - 0.12 * jaw) * u
    middle = s["mouth_y"] - 0.125 * smile * (np.abs(u) ** 1.6 - 0.35) + 0.045 * jaw
    top = middle - arch * (0.04 * jaw + 0.075 * lift)
    bottom = middle + arch * (0.235 * jaw + 0.02 * lift + 0.03 * np.clip(smile, 0, 1))
    cupid = np.sqrt(arch) * (1 - 0.22 * np.exp(-((u / 0.16) ** 2)))
    upper_edge = top - s["lip_upper"] * thin * cupid
    lower_edge = bottom + s["lip_lower"] * thin * np.sqrt(arch) * (1 - 0.2 * jaw)
    teeth = np.minimum(bottom, top + 0.06 * arch**0.4)
    parted = (bottom - top).max(axis=1) > 0.025
    return [
        Shape((band(x, upper_edge, top),), person.lips * 0.88, 0.35),
        Shape((band(x, bottom, lower_edge),), person.lips, 0.35),
        Shape((band(1.03 * x, top - 0.009, bottom + 0.009),), np.array((62.0, 20, 24)), 0.33),
        Shape((band(0.92 * x, top, teeth),), np.array((236.0, 232, 224)), 0.33, shown=parted),
    ]


def brows(person: Identity, move: Curves) -> list[Shape]:
    """Draws two tapered bands whose inner ends rise and frown separately."""
    s, t = person.shape, np.linspace(0, 1, 9)
    up, inner, frown = (
        _column(np.clip(channel, -0.5, 1.1))
        for channel in (move.brow_raise, move.brow_inner, move.brow_frown)
    )
    near = 1 - t
    rest = s["brow_y"] - s["brow_arch"] * np.sin(np.pi * (0.15 + 0.75 * t)) - s["brow_tilt"] * (t - 0.5)
    raised = 0.135 * up * (0.8 + 0.3 * np.sin(np.pi * t)) + inner * (0.13 * near**1.3 - 0.03 * t)
    y = rest - raised + frown * (0.115 * near**1.2 + 0.02)
    x = 0.115 - 0.045 * frown - 0.02 * inner + (0.32 + 0.03 * frown) * t
    width = s["brow_size"] * (0.95 - 0.6 * t**1.5)
    bands = tuple(ribbon(side * x, y, width) for side in SIDES)
    dark = np.minimum(mix(person.hair, BLACK, 0.25), 0.62 * person.skin)
    return [Shape(bands, dark, 0.3)]


def _column(channel: np.ndarray) -> np.ndarray:
    """Returns a channel `(F,)` as `(F, 1)`, to combine it with points `(P,)`."""
    return channel[:, None]
