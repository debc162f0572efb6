"""Seven expressions as movements: which parts of the face move, how far, how fast, in which order.

Classes and their order are DFEW's. Apex poses follow the action units of the basic emotions (Ekman and
Friesen, Facial Action Coding System), with two pairs whose apexes are nearly the same picture on purpose:

- surprise and fear: surprise snaps open and relaxes, fear creeps up, trembles and stays;
- disgust and angry: disgust is a quick double wince that lets go, anger tightens slowly and stays.

A single frame therefore hardly separates the members of a pair, while their movement does. Sad differs from
a resting face with low corners by sinking slowly, happy rises at a medium pace.

All curves are functions of time in seconds, so any frame rate sees the same movement. An episode fills the
2.4 s of a clip, is released afterwards, and repeats every `PERIOD_S`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from maedfer.data.synthetic.difficulty import Difficulty

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
"""Label names; the index is the label id, in DFEW's order."""

ALIKE_PAIRS = (("surprise", "fear"), ("disgust", "angry"))
"""Classes whose apex frames nearly agree and whose movements differ."""

RELEASE_S = 2.9
"""Time in an episode from which a held expression is released: after the 2.4 s of a clip that starts at 0."""

PERIOD_S = 3.6
"""An episode repeats after this many seconds."""


class Curves(NamedTuple):
    """Movement channels over the frames of a clip, each `(F,)`; 0 is a relaxed face, 1 a textbook action.

    Action units (AU) in brackets; `blink`, `gaze_x` and `gaze_y` are not part of any expression.
    """

    brow_raise: np.ndarray  # whole brow up (AU1 + 2)
    brow_inner: np.ndarray  # inner ends up, oblique brows (AU1)
    brow_frown: np.ndarray  # brows down and together (AU4)
    eye_wide: np.ndarray  # upper lid up (AU5), negative: drooping
    squint: np.ndarray  # lower lid up (AU6, 7)
    wrinkle: np.ndarray  # nose wrinkled (AU9)
    cheek: np.ndarray  # cheeks up (AU6)
    smile: np.ndarray  # mouth corners up (AU12), negative: down (AU15)
    stretch: np.ndarray  # mouth wider (AU20), negative: pursed (AU18)
    upper_lip: np.ndarray  # upper lip up (AU10)
    press: np.ndarray  # lips thin (AU23, 24)
    jaw: np.ndarray  # jaw drops, mouth opens (AU26, 27)
    blink: np.ndarray  # eyes shut (AU45)
    gaze_x: np.ndarray
    gaze_y: np.ndarray

    def plus(self, other: Curves) -> Curves:
        """Returns the two movements at the same time."""
        return Curves(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


UPPER_FACE = ("brow_raise", "brow_inner", "brow_frown", "eye_wide", "squint")

_AGHAST = dict(brow_raise=0.85, eye_wide=0.95, jaw=0.7)
_TENSE = dict(brow_frown=0.95, squint=0.45, wrinkle=0.6, smile=-0.3, upper_lip=0.35, press=0.4)

APEX: Mapping[str, Mapping[str, float]] = {
    "happy": dict(smile=1.0, cheek=1.0, squint=0.55, stretch=0.55, jaw=0.28, upper_lip=0.25),
    "sad": dict(brow_inner=1.0, brow_frown=0.15, eye_wide=-0.45, smile=-0.85, press=0.25, stretch=-0.15),
    "neutral": {},
    "angry": _TENSE | dict(press=0.5, upper_lip=0.3, wrinkle=0.55, eye_wide=0.05),
    "surprise": _AGHAST | dict(jaw=0.8, stretch=-0.1),
    "disgust": _TENSE | dict(upper_lip=0.45, wrinkle=0.75, press=0.35, eye_wide=-0.05),
    "fear": _AGHAST | dict(brow_inner=0.2, brow_frown=0.12, jaw=0.62, stretch=0.15),
}
"""Channel values at full strength; channels left out stay at 0."""


@dataclass(frozen=True)
class Timing:
    """The course of an expression: ranges in seconds from which a clip draws.

    Attributes:
        delay: Rest before the onset.
        rise: Onset, from rest to apex.
        hold: Apex.
        fall: Offset, from apex to `sustain`.
        sustain: Level kept after the offset, as a fraction of the apex.
        tremble: Size of a 2.3 Hz ripple on top of the level.
        second: Size of a second pulse after the first, as a fraction of the apex.
        upper_lag: Delay of brows and eyes behind the mouth; negative: they lead.
    """

    delay: tuple[float, float]
    rise: tuple[float, float]
    hold: tuple[float, float]
    fall: tuple[float, float] = (0.4, 0.6)
    sustain: float = 1.0
    tremble: float = 0.0
    second: float = 0.0
    upper_lag: float = 0.0


TIMINGS: Mapping[str, Timing] = {
    "happy": Timing((0.25, 0.65), (0.45, 0.7), (1.2, 1.8), sustain=0.85, upper_lag=0.15),
    "sad": Timing((0.15, 0.45), (1.1, 1.6), (1.0, 1.4), upper_lag=-0.2),
    "neutral": Timing((0.2, 0.5), (0.5, 0.8), (1.0, 1.4)),
    "angry": Timing((0.15, 0.4), (0.9, 1.4), (1.2, 1.6)),
    "surprise": Timing((0.25, 1.05), (0.12, 0.22), (0.3, 0.5), (0.5, 0.7), 0.3, upper_lag=-0.08),
    "disgust": Timing((0.25, 0.85), (0.14, 0.24), (0.18, 0.3), (0.3, 0.4), 0.3, second=0.7),
    "fear": Timing((0.15, 0.4), (1.0, 1.5), (1.2, 1.6), tremble=0.14),
}


@dataclass(frozen=True)
class Performance:
    """An expression as one clip plays it, with its drawn strength and times (seconds).

    Attributes:
        label: Class id.
        strength: Factor on the apex pose.
        tilt: Factor per channel, how this person plays the expression.
    """

    label: int
    strength: float
    delay: float
    rise: float
    hold: float
    fall: float
    tilt: Mapping[str, float] = field(default_factory=dict)

    def level(self, times: np.ndarray, lag: float = 0.0) -> np.ndarray:
        """Returns the strength relative to the apex, `(F,)`, at times in seconds."""
        timing = TIMINGS[CLASSES[self.label]]
        t = np.mod(times, PERIOD_S)
        start = self.delay + max(lag, -self.delay)
        top = _ramp(t, start, self.rise)
        drop = _ramp(t, start + self.rise + self.hold, self.fall)
        level = top - (1 - timing.sustain) * drop
        if timing.second:
            level = level + timing.second * _bump(t - start - self.rise - self.hold - self.fall - 0.25, 0.28)
        level = level + timing.tremble * top * np.sin(2 * np.pi * 2.3 * (t - start))
        return level * (1 - _ramp(t, RELEASE_S, 0.4))

    def curves(self, times: np.ndarray) -> Curves:
        """Returns the movement of all channels at times `(F,)` in seconds."""
        name = CLASSES[self.label]
        lower = self.strength * self.level(times)
        upper = self.strength * self.level(times, TIMINGS[name].upper_lag)
        return Curves(
            *(
                APEX[name].get(channel, 0.0)
                * self.tilt.get(channel, 1.0)
                * (upper if channel in UPPER_FACE else lower)
                for channel in Curves._fields
            )
        )


def draw_performance(label: int, difficulty: Difficulty, rng: np.random.Generator) -> Performance:
    """Draws how a clip plays the expression `label`."""
    timing = TIMINGS[CLASSES[label]]
    strength = rng.uniform(*difficulty.intensity)
    delay, rise, hold, fall = (
        _within(bounds, difficulty.timing, rng)
        for bounds in (timing.delay, timing.rise, timing.hold, timing.fall)
    )
    spread = 0.5 * min(difficulty.identity, 1.0)
    tilt = {channel: rng.uniform(1 - spread, 1 + 0.5 * spread) for channel in Curves._fields}
    return Performance(label, strength, delay, rise, hold, fall, tilt)


def hold_pose(pose: Mapping[str, float], num_frames: int, strength: float = 1.0) -> Curves:
    """Returns a constant pose: every channel has one value over the frames."""
    return Curves(*(np.full(num_frames, strength * pose.get(name, 0.0)) for name in Curves._fields))


def _within(bounds: tuple[float, float], spread: float, rng: np.random.Generator) -> float:
    """Draws from a range that is shrunk towards its middle by `spread`."""
    low, high = bounds
    return (low + high) / 2 + spread * (rng.uniform(low, high) - (low + high) / 2)


def _ramp(t: np.ndarray, start: float, duration: float) -> np.ndarray:
    """Returns 0 before `start`, 1 after `start + duration`, and a smooth step between."""
    x = np.clip((t - start) / duration, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _bump(t: np.ndarray, half_width: float) -> np.ndarray:
    """Returns a smooth pulse of height 1 around 0."""
    return np.square(np.clip(1 - np.square(t / half_width), 0.0, 1.0))
