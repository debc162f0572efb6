"""Clips of synthetic faces: a pure function of (seed, split, index), the same at every size and rate."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.synthetic.camera import backdrop, draw_light, record
from maedfer.data.synthetic.difficulty import Difficulty, resolve_difficulty
from maedfer.data.synthetic.drawing import canvas_size, face_shapes, paint
from maedfer.data.synthetic.expressions import CLASSES, draw_performance
from maedfer.data.synthetic.faces import draw_identity
from maedfer.data.synthetic.nuisance import head_pose, nuisance_curves
from maedfer.errors import UserError

SIZES = (32, 160)
"""Smallest and largest side in pixels that the drawing is made for."""


@dataclass(frozen=True)
class SyntheticClip:
    """A drawn clip with its label and subject.

    Attributes:
        frames: uint8 `(F, H, W, 3)`, RGB.
        label: Class id, an index into `CLASSES`.
        subject: Name of the drawn person; no two splits or seeds share one.
        fps: Frames per second.
    """

    frames: np.ndarray
    label: int
    subject: str
    fps: float

    @property
    def label_name(self) -> str:
        """Name of the class."""
        return CLASSES[self.label]


@dataclass(frozen=True)
class SyntheticFaces:
    """An endless, indexable set of labelled clips of synthetic faces.

    The labels of any seven clips that start at a multiple of seven are the seven classes in a shuffled order.

    Attributes:
        size: Side of the frames in pixels.
        num_frames: Frames per clip.
        fps: Frames per second; 16 frames at 6.25 show one whole expression.
        difficulty: A preset (`clean`, `diverse`, `messy`) or a `Difficulty`.
        seed: Another seed is another set of people and clips.
        split: Any name; another split is another set of people.
        clips_per_subject: Consecutive clips played by the same person; 7 plays every class once.
    """

    size: int = 64
    num_frames: int = NUM_FRAMES
    fps: float = 1 / FRAME_INTERVAL_S
    difficulty: str | Difficulty = "clean"
    seed: int = 0
    split: str = "train"
    clips_per_subject: int = 1

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            UserError: a number is out of range, or no preset has the name of the difficulty.
        """
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise UserError("size", f"{self.size} is outside {SIZES[0]} to {SIZES[1]} pixels")
        for name in ("fps", "num_frames", "clips_per_subject"):
            if getattr(self, name) <= 0:
                raise UserError(name, f"{getattr(self, name)} must be more than 0")
        if self.seed < 0:
            raise UserError("seed", f"{self.seed} must not be negative")
        resolve_difficulty(self.difficulty)

    def label(self, index: int) -> int:
        """Returns the class id of clip `index`, without drawing it."""
        block, place = divmod(index, len(CLASSES))
        return int(self._rng("labels", block).permutation(len(CLASSES))[place])

    def subject(self, index: int) -> str:
        """Returns the name of the person in clip `index`, without drawing it."""
        return f"synthetic-{self.seed}-{self.split}-{index // self.clips_per_subject:06d}"

    def clip(self, index: int) -> SyntheticClip:
        """Draws clip `index`.

        Raises:
            ValueError: the index is negative.
        """
        if index < 0:
            raise ValueError(f"clip index {index} is negative")
        return SyntheticClip(self._frames(index), self.label(index), self.subject(index), self.fps)

    def _frames(self, index: int) -> np.ndarray:
        """Draws the frames of clip `index`, uint8 `(F, H, W, 3)`."""
        difficulty = resolve_difficulty(self.difficulty)
        times = np.arange(self.num_frames) / self.fps
        person = draw_identity(difficulty, self._rng("person", index // self.clips_per_subject))
        playing = draw_performance(self.label(index), difficulty, self._rng("expression", index))
        move = nuisance_curves(times, difficulty, self._rng("nuisance", index)).plus(playing.curves(times))
        pose = head_pose(times, difficulty, self._rng("pose", index))
        light = draw_light(difficulty, self._rng("light", index))
        behind = backdrop(person.backdrop, difficulty, canvas_size(self.size), self._rng("backdrop", index))
        frames = paint(face_shapes(person, move, light.side), pose, behind, self.size)
        return record(frames, times, light, difficulty, self._rng("camera", index))

    def _rng(self, purpose: str, number: int) -> np.random.Generator:
        """Returns a generator for one purpose in one clip, person or block, independent of all others."""
        return np.random.default_rng([self.seed, crc32(self.split.encode()), crc32(purpose.encode()), number])
