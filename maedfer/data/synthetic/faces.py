"""The drawn person: face, hair, glasses, beard and colours.

Lengths are in units of half a frame: the frame spans -1 to 1, x to the right, y down, in an aligned crop that
the face fills. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maedfer.data.synthetic.difficulty import Difficulty

SKINS = ((244, 208, 180), (229, 184, 148), (204, 154, 116), (170, 118, 82), (128, 84, 58), (92, 60, 44))
HAIRS = ((28, 22, 20), (58, 38, 26), (92, 62, 38), (126, 70, 40), (176, 138, 86), (158, 154, 150))
IRISES = ((62, 40, 26), (92, 62, 34), (84, 104, 70), (84, 120, 156), (104, 112, 120))

SHAPES = {  # middle, standard deviation at full spread
    "width": (0.63, 0.035),
    "height": (0.84, 0.03),
    "taper": (0.26, 0.07),
    "jaw_square": (0.88, 0.10),
    "eye_x": (0.285, 0.015),
    "eye_y": (-0.14, 0.02),
    "eye_width": (0.155, 0.012),
    "eye_height": (0.082, 0.011),
    "eye_tilt": (0.012, 0.012),
    "brow_y": (-0.345, 0.02),
    "brow_size": (0.046, 0.010),
    "brow_arch": (0.05, 0.018),
    "brow_tilt": (0.0, 0.02),
    "nose_width": (0.125, 0.018),
    "nose_y": (0.165, 0.02),
    "mouth_y": (0.44, 0.02),
    "mouth_width": (0.245, 0.02),
    "lip_upper": (0.050, 0.010),
    "lip_lower": (0.068, 0.012),
    "hairline": (-0.66, 0.025),
    "hair_volume": (0.10, 0.03),
}
"""Proportions of the face. Eyes, brows and mouth are a little larger than life, to be seen at 48 pixels."""


@dataclass(frozen=True)
class Identity:
    """A drawn person.

    Attributes:
        shape: A value for every name of `SHAPES`, in half frames.
        hair_style: `short`, `long`, `fringe` or `bald`.
        beard: 0 for none, 1 for a full beard.
    """

    shape: dict[str, float]
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    shirt: np.ndarray
    backdrop: np.ndarray
    hair_style: str = "short"
    glasses: bool = False
    beard: float = 0.0


def draw_identity(difficulty: Difficulty, rng: np.random.Generator) -> Identity:
    """Draws a person; a wider `difficulty` moves the same draws further from the average face."""
    spread = difficulty.identity
    normal = np.clip(rng.standard_normal(len(SHAPES)), -2, 2)
    shape = {
        name: middle + spread * sd * z for (name, (middle, sd)), z in zip(SHAPES.items(), normal, strict=True)
    }
    skin = _from_palette(SKINS, 1.2, spread, rng)
    hair = _from_palette(HAIRS, 1.0, spread, rng)
    hair = hair * min(1.0, 0.35 + 0.65 * skin.mean() / 180)  # fair hair on fair skin: brows stay visible
    iris = _from_palette(IRISES, 0.8, spread, rng)
    rosy = rng.uniform(0.35, 0.75)
    lips = (1 - rosy) * skin * np.array((0.86, 0.62, 0.62)) + rosy * np.array((176, 74, 78)) * (
        0.55 + 0.45 * skin.mean() / 200
    )
    shirt = _tint(rng, difficulty.background, (96, 104, 124))
    backdrop = _tint(rng, difficulty.background, (122, 132, 140))
    has = rng.uniform(size=3) < difficulty.accessories
    style = ("long", "fringe", "bald")[rng.integers(3)] if has[0] else "short"
    beard = float(rng.uniform(0.4, 1.0)) if has[1] and style in ("short", "bald") else 0.0
    return Identity(shape, skin, hair, iris, lips, shirt, backdrop, style, bool(has[2]), beard)


def _from_palette(
    palette: tuple[tuple[int, ...], ...], middle: float, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws a colour on the line through a palette, `(3,)`; without spread the one at position `middle`."""
    position = np.clip(
        middle + min(spread, 1.0) * (rng.uniform(0, len(palette) - 1) - middle), 0, len(palette) - 1
    )
    colours = np.array(palette, dtype=np.float64)
    jitter = spread * rng.uniform(-8, 8, size=3)
    mixed = np.stack([np.interp(position, np.arange(len(palette)), column) for column in colours.T])
    return mixed + jitter


def _tint(rng: np.random.Generator, spread: float, middle: tuple[int, int, int]) -> np.ndarray:
    """Draws a muted colour between `middle` and any other, `(3,)`."""
    other = rng.uniform(30, 220) + rng.uniform(-45, 45, size=3)
    return np.array(middle) + min(spread, 1.0) * (other - np.array(middle))
