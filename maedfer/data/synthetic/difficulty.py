"""The difficulty of the synthetic faces: one frozen setting, three named presets.

`clean` is what a small model learns from a few labels within minutes: aligned, noise-free, plain backgrounds,
large motion; people and resting faces differ, so that movement is more informative than any single frame.
`diverse` keeps that but widens the people. `messy` has everything real clips have:
pose, sensor noise, JPEG, moving light, weak expressions, and resting faces that look like another class.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from maedfer.errors import UserError


@dataclass(frozen=True)
class Difficulty:
    """Strengths of the effects that hide an expression; 0 switches an effect off.

    Attributes:
        identity: Spread of face shape and of skin, hair and eye colour, 1 = the full range of people.
        accessories: Probability of each of glasses, a beard and an uncommon haircut.
        background: Spread of background and clothing colours; clutter appears above 0.5.
        intensity: Range of the strength of an expression, 1 = textbook.
        timing: Spread of onset delay and duration inside the range of the class.
        talk: Strength of speech movements; half of the clips have some.
        mimic: Strength of a resting face that borrows the apex of another class.
        pose: Spread of constant head shift, roll, yaw, pitch and scale, 1 = about 12 degrees of roll.
        drift: Spread of head movement within a clip.
        lighting: Strength of directed light, colour cast and their changes over time.
        noise: Standard deviation of the sensor noise in grey levels of 255.
        blur: Defocus, standard deviation as a fraction of the frame's side.
        jpeg: Quality of one JPEG compression, or 0 for none.
    """

    identity: float = 0.85
    accessories: float = 0.0
    background: float = 0.3
    intensity: tuple[float, float] = (0.95, 1.2)
    timing: float = 1.0
    talk: float = 0.1
    mimic: float = 0.15
    pose: float = 0.0
    drift: float = 0.0
    lighting: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    jpeg: int = 0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            UserError: a number is negative, the JPEG quality exceeds 100 or the intensity range is reversed.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if min(value if isinstance(value, tuple) else (value,)) < 0:
                raise UserError("difficulty", f"{item.name}={value} is negative; 0 switches it off")
        if self.jpeg > 100:
            raise UserError(
                "difficulty", f"jpeg={self.jpeg} is not a JPEG quality; take 1 to 100, or 0 for none"
            )
        if self.intensity[0] > self.intensity[1]:
            raise UserError("difficulty", f"intensity={self.intensity} is not a (low, high) range")


PRESETS = {
    "clean": Difficulty(),
    "diverse": Difficulty(
        identity=1.0, accessories=0.3, background=0.6, intensity=(0.7, 1.1), talk=0.25, mimic=0.4, drift=0.1
    ),
    "messy": Difficulty(
        identity=1.0,
        accessories=0.35,
        background=1.0,
        intensity=(0.35, 0.8),
        talk=0.8,
        mimic=0.7,
        pose=1.0,
        drift=1.0,
        lighting=1.0,
        noise=7.0,
        blur=0.006,
        jpeg=40,
    ),
}


def resolve_difficulty(difficulty: str | Difficulty) -> Difficulty:
    """Returns the setting of a preset; a `Difficulty` is returned unchanged.

    Raises:
        UserError: no preset has that name.
    """
    if isinstance(difficulty, Difficulty):
        return difficulty
    if difficulty not in PRESETS:
        raise UserError("difficulty", f"{difficulty!r} is unknown; take one of {', '.join(PRESETS)}")
    return PRESETS[difficulty]
