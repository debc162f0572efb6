"""The rest of the head: hair, neck, clothes, ears, skin, beard and glasses as outlines."""

from __future__ import annotations

import numpy as np

from maedfer.data.synthetic.expressions import Curves
from maedfer.data.synthetic.faces import Identity
from maedfer.data.synthetic.outlines import Shape, ellipse, joined, mix, moved, ring, still

SIDES = (-1, 1)

SKULL_SQUARE = 0.72
"""Exponent of the skull's outline: 1 is an ellipse, smaller is broader at the top."""


def behind(person: Identity) -> list[Shape]:
    """Draws neck, clothes, and long hair or ears."""
    neck = [(-0.30, 0.45), (0.30, 0.45), (0.36, 1.3), (-0.36, 1.3)]
    collar = [(-1.5, 1.6), (-1.2, 1.0), (-0.34, 0.88), (0, 0.98), (0.34, 0.88), (1.2, 1.0), (1.5, 1.6)]
    shapes = [
        Shape((still(neck),), person.skin * 0.72, 0.0, soft=True),
        Shape((still(collar),), person.shirt, 0.0, soft=True),
    ]
    if person.hair_style == "long":
        return [*shapes, _long_hair(person)]
    width = person.shape["width"] * 0.99
    ears = tuple(still(ellipse(side * width, -0.03, 0.075, 0.15)) for side in SIDES)
    return [*shapes, Shape(ears, person.skin * 0.84, -0.05, soft=True)]


def _long_hair(person: Identity) -> Shape:
    """Draws hair that falls beside the face to the shoulders."""
    width = person.shape["width"] + 1.5 * person.shape["hair_volume"]
    top = person.shape["height"] + person.shape["hair_volume"]
    right = [(0.75 * width, -0.7), (width, -0.2), (width, 1.05), (0.6, 0.9), (0.5, 0.1)]
    left = [(-x, y) for x, y in reversed(right)]
    return Shape((still([(0.0, -top), *right, *left]),), person.hair, 0.0, soft=True)


def skin(person: Identity, move: Curves, light_x: float) -> list[Shape]:
    """Draws the head with a rim that is darker away from the light (`light_x`, -1 to 1), and its parts."""
    s, outline = person.shape, _outline(person, move)
    lit = outline * np.array([0.84, 0.88]) + np.array([0.06 * light_x, -0.03])
    sockets = tuple(
        moved(ellipse(side * s["eye_x"], s["eye_y"] - 0.09, 0.17, 0.07), 0.0, 0.03 * move.brow_frown)
        for side in SIDES
    )
    cheeks = tuple(
        moved(ellipse(side * 0.36, 0.16, 0.13, 0.09), 0.02 * side * move.cheek, -0.10 * move.cheek)
        for side in SIDES
    )
    rosy = mix(
        person.skin * 1.02, np.array((224.0, 110, 96)), 0.05 + 0.10 * np.clip(move.cheek, 0, 1)[:, None]
    )
    shapes = [
        Shape((outline,), person.skin * 0.86, 0.0, soft=True),
        Shape((lit,), person.skin, 0.05, soft=True),
        Shape(sockets, person.skin * 0.90, 0.2, soft=True),
        Shape(cheeks, rosy, 0.2, soft=True),
    ]
    return [*shapes, _beard(person, outline)] if person.beard else shapes


def _outline(person: Identity, move: Curves) -> np.ndarray:
    """Returns the head from ear over chin to skull, `(F, 40, 2)`; the jaw lengthens its lower half."""
    s, angle = person.shape, np.linspace(0, 2 * np.pi, 41)[:-1]
    down = np.clip(np.sin(angle), 0, None)
    square = np.where(np.sin(angle) > 0, s["jaw_square"], SKULL_SQUARE)
    wide = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** square
    drop = 0.17 * np.clip(move.jaw, 0, 1.3) - 0.02 * move.press
    return joined(
        s["width"] * wide * (1 - s["taper"] * down**2),
        s["height"] * np.sin(angle) + drop[:, None] * down**1.5,
    )


def _beard(person: Identity, outline: np.ndarray) -> Shape:
    """Draws the lower part of the face in a colour between skin and hair."""
    lower = outline[:, 1:20]
    upper_y = 0.25 + 0.12 * np.sin(np.linspace(0, np.pi, lower.shape[1]))
    upper = np.stack([0.92 * lower[:, ::-1, 0], np.broadcast_to(upper_y, lower.shape[:2])], axis=-1)
    colour = mix(person.skin, person.hair, 0.35 + 0.5 * person.beard)
    return Shape((np.concatenate([lower, upper], axis=1),), colour, 0.05, soft=True)


def in_front(person: Identity) -> list[Shape]:
    """Draws hair over the forehead, and glasses."""
    shapes = [] if person.hair_style == "bald" else [_front_hair(person)]
    return [*shapes, _glasses(person)] if person.glasses else shapes


def _front_hair(person: Identity) -> Shape:
    """Draws the hair on top of the head, down to the hairline."""
    s, angle = person.shape, np.linspace(np.pi, 2 * np.pi, 21)
    round_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** SKULL_SQUARE
    cap_x = (s["width"] + 0.4 * s["hair_volume"]) * round_x
    cap_y = (s["height"] + s["hair_volume"]) * np.sin(angle) - 0.02
    x = np.linspace(1, -1, 15)
    line = s["hairline"] + 0.03 * np.cos(3.2 * x + 0.9) + (0.06 if person.hair_style == "fringe" else 0.0)
    line = line + (0.60 if person.hair_style == "long" else 0.42) * np.abs(x) ** 5
    outline = joined(np.concatenate([cap_x, 0.97 * s["width"] * x]), np.concatenate([cap_y, line]))
    return Shape((outline,), person.hair, 0.1)


def _glasses(person: Identity) -> Shape:
    """Draws two rims and a bridge."""
    s = person.shape
    rims = [ring(side * s["eye_x"], s["eye_y"] + 0.015, s["eye_width"] * 1.36, 0.17, 0.018) for side in SIDES]
    bridge = [(-0.08, -0.15), (0.08, -0.15), (0.08, -0.12), (-0.08, -0.12)]
    return Shape((*(still(rim) for rim in rims), still(bridge)), np.array((34.0, 32, 36)), 0.4)
