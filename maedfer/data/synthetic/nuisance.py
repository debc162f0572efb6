"""Movement that carries no label: blinks, glances, speech, the resting face and the drifting head.

Like expressions, all of it is a function of time in seconds, so that any frame rate sees the same movement.
"""

from __future__ import annotations

import numpy as np

from maedfer.data.synthetic.difficulty import Difficulty
from maedfer.data.synthetic.drawing import HeadPose
from maedfer.data.synthetic.expressions import APEX, CLASSES, Curves, hold_pose

BLINK_LOOP_S = 17.0
"""Blinks repeat after this time, longer than the clips in use."""


def nuisance_curves(times: np.ndarray, difficulty: Difficulty, rng: np.random.Generator) -> Curves:
    """Draws the movements that carry no label: resting face, blinks, glances and speech.

    Args:
        times: Seconds, `(F,)`.
        difficulty: `identity`, `mimic` and `talk` set their sizes.
        rng: Drawn from in the same amount whatever the times and settings are.
    """
    rest = _rest(len(times), difficulty, rng)
    speech = _speech(times, difficulty.talk, rng)
    gaze = 0.35 * _wave(times, 0.35, rng), 0.35 * _wave(times, 0.25, rng)
    blink = _blinks(times, rng)
    still = hold_pose({}, len(times))
    return rest.plus(speech).plus(still._replace(blink=blink, gaze_x=gaze[0], gaze_y=gaze[1]))


def head_pose(times: np.ndarray, difficulty: Difficulty, rng: np.random.Generator) -> HeadPose:
    """Draws the pose of the head over the frames: a constant pose and slow drift around it."""
    sizes = {"x": 0.10, "y": 0.08, "roll": 0.20, "scale": 0.09, "yaw": 0.40, "pitch": 0.22}
    drift = {"x": 0.05, "y": 0.05, "roll": 0.07, "scale": 0.03, "yaw": 0.20, "pitch": 0.14}
    values = {}
    for name, size in sizes.items():
        constant = difficulty.pose * size * rng.uniform(-1, 1)
        values[name] = constant + difficulty.drift * drift[name] * _wave(times, 0.45, rng)
    values["scale"] = np.exp(values["scale"])
    return HeadPose(**values)


def _rest(num_frames: int, difficulty: Difficulty, rng: np.random.Generator) -> Curves:
    """Draws the face at rest: the person's own brows, lids and mouth, and the apex of some other class."""
    own = {
        "brow_raise": 0.15,
        "brow_frown": 0.20,
        "brow_inner": 0.15,
        "eye_wide": 0.22,
        "squint": 0.18,
        "smile": 0.35,
        "press": 0.30,
    }
    pose = {
        name: difficulty.identity * size * float(np.clip(rng.standard_normal(), -2, 2))
        for name, size in own.items()
    }
    borrowed = APEX[CLASSES[rng.integers(len(CLASSES))]]
    strength = difficulty.mimic * rng.uniform(0.2, 1.0)
    return hold_pose(pose, num_frames).plus(hold_pose(borrowed, num_frames, strength))


def _speech(times: np.ndarray, amount: float, rng: np.random.Generator) -> Curves:
    """Draws jaw and lips that open and close a few times per second; half of the clips are silent."""
    talks, rate = rng.uniform() < 0.5, rng.uniform(2.2, 3.4)
    phrase = np.clip(0.5 + 1.5 * _wave(times, 0.5, rng), 0, 1)
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * (rate * times + 0.15 * _wave(times, 1.0, rng) + rng.uniform()))
    shapes = _wave(times, 1.3, rng)
    loud = amount * talks * phrase
    still = hold_pose({}, len(times))
    return still._replace(
        jaw=0.55 * loud * syllables, stretch=0.35 * loud * shapes, press=0.3 * loud * (1 - syllables)
    )


def _blinks(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns 1 while the eyes are shut, else 0: a blink of about 0.3 s every 2 to 5 seconds."""
    starts = np.cumsum(rng.uniform(2.0, 5.0, size=6)) - rng.uniform(0, 4.0)
    half = rng.uniform(0.11, 0.17)
    t = np.mod(times, BLINK_LOOP_S)
    starts = starts[starts < BLINK_LOOP_S - 1]
    shut = [np.clip(1.6 * (1 - np.abs(t - start) / half), 0, 1) for start in starts]
    return np.max(shut, axis=0)


def _wave(times: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draws a smooth movement of about -1 to 1: three sines around `rate` Hz."""
    rates, phases = rate * rng.uniform(0.4, 1.6, size=3), rng.uniform(0, 2 * np.pi, size=3)
    return np.sin(2 * np.pi * rates * times[:, None] + phases).sum(axis=-1) / 2
