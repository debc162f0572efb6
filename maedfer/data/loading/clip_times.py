"""Chooses the frames of a clip in a stored track: 16 frames 0.16 s apart, at any stored rate.

At 25 frames per second this is upstream's stride of 4. Departures from upstream: the stride follows the
stored rate, so a 30 fps source is not sampled faster than a 25 fps one; a track shorter than the clip's span
(15 x 0.16 s = 2.4 s) is sampled evenly over its whole length, where upstream repeats its last frame (see
`upstream_times`); the last reachable start is used too. A track with fewer frames than a clip yields each of
them once or more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.errors import UserError

_ROUNDING = 1e-6
"""Tolerance in frames, so that 0.16 s x 12.5 fps counts as two frames despite rounding errors."""


@dataclass(frozen=True)
class ClipTimes:
    """The frames of one clip.

    Attributes:
        indices: Frame numbers int64 (T,).
        start_s: Start of the clip in the track, in seconds.
    """

    indices: np.ndarray
    start_s: float


@dataclass(frozen=True)
class ClipSampler:
    """Chooses the frames of clips in one stored track.

    Attributes:
        frames: Decodable frames of the track, 1 or more.
        fps: Stored frames per second.
        num_frames: Frames of a clip.
        interval_s: Seconds between two frames of a clip.

    Raises:
        UserError: the track has no frame, or no rate.
    """

    frames: int
    fps: float
    num_frames: int = NUM_FRAMES
    interval_s: float = FRAME_INTERVAL_S

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise UserError(None, f"the track is too short: {self.frames} frames")
        if not self.fps > 0:
            raise UserError(None, f"the track is stored at {self.fps} frames per second: not positive")

    @property
    def last_start(self) -> int:
        """The last frame that a clip can start at; 0 where the track is shorter than the clip's span."""
        return max(0, int(np.floor(self.frames - 1 - self._span + _ROUNDING)))

    @property
    def _span(self) -> float:
        """The number of stored frames from the first to the last frame of a clip."""
        return (self.num_frames - 1) * self.interval_s * self.fps

    @property
    def short(self) -> bool:
        """True if the track, from its first to its last frame, lasts less than a clip."""
        return self.frames - 1 + _ROUNDING < self._span

    def clip_at(self, start: int) -> ClipTimes:
        """Returns the clip that starts at a frame; a short track has only one, over its whole length."""
        if self.short:
            return ClipTimes(_nearest(np.linspace(0, self.frames - 1, self.num_frames)), 0.0)
        steps = np.arange(self.num_frames) * self.interval_s * self.fps
        indices = np.minimum(start + _nearest(steps), self.frames - 1)
        return ClipTimes(indices, start / self.fps)

    def random_clip(self, rng: np.random.Generator) -> ClipTimes:
        """Returns a clip whose start is uniform over all possible ones (training)."""
        return self.clip_at(int(rng.integers(self.last_start + 1)))

    def spread_clip(self, number: int, count: int) -> ClipTimes:
        """Returns clip `number` of `count`, spread evenly over the track; a single one is centred."""
        position = self.last_start / 2 if count == 1 else self.last_start * number / (count - 1)
        return self.clip_at(int(position))


def _nearest(positions: np.ndarray) -> np.ndarray:
    """Rounds to the nearest frame, halves up (numpy rounds them to even, and strides would vary)."""
    return np.floor(positions + 0.5 + _ROUNDING).astype(np.int64)
