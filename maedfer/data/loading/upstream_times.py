"""Chooses the frames of a clip as upstream does: in whole steps of stored frames, repeating the last one.

Upstream's two data sets differ. Pre-training takes every `rate`-th frame from a random start. Fine-tuning
lays 16 points over 16 x `rate` frames (4.27 frames apart where testing has 4), and tests on the first and
last 16 of every `rate`-th frame. Published numbers rest on this; `ClipSampler` implements the intended
sampling.

The rate is upstream's 4 for 0.16 s at 25 frames per second, 1 for 0.04 s. Departure: a single clip to
validate on is the middle one, where upstream draws one at random.
"""

import numpy as np

from maedfer.data.loading.clip_times import ClipSampler, ClipTimes


class UpstreamSampler(ClipSampler):
    """Holds what both data sets have in common: the step in stored frames, and the span of a clip."""

    @property
    def rate(self) -> int:
        """The number of stored frames from one frame of a clip to the next."""
        return max(1, round(self.interval_s * self.fps))

    @property
    def clip_frames(self) -> int:
        """The number of stored frames that a clip takes: a step for each of its frames, also the last."""
        return self.num_frames * self.rate

    def _from(self, start: int, indices: np.ndarray) -> ClipTimes:
        return ClipTimes(indices.astype(np.int64), start / self.fps)


class PretrainingSampler(UpstreamSampler):
    """Takes every `rate`-th frame, as pre-training does; the track's last frame is never used."""

    @property
    def last_start(self) -> int:
        """The last frame a clip can start at; 0 where the track is shorter than a clip."""
        return max(0, self.frames - self.clip_frames)

    def clip_at(self, start: int) -> ClipTimes:
        """Returns the clip that starts at a frame; its last reachable frame is repeated."""
        steps = max(0, self.frames - 2 - start) // self.rate
        return self._from(start, start + self.rate * np.minimum(np.arange(self.num_frames), steps))


class FineTuningSampler(UpstreamSampler):
    """Takes points over 16 x `rate` frames in training, and every `rate`-th frame in testing."""

    @property
    def last_start(self) -> int:
        """The last frame that a training clip can start at: one less than would fit."""
        return max(0, self.frames - 1 - self.clip_frames)

    def clip_at(self, start: int) -> ClipTimes:
        """Returns the training clip that starts at a frame; a shorter track repeats its last frame."""
        if self.frames > self.clip_frames:
            points = np.linspace(start, start + self.clip_frames, self.num_frames)
            return self._from(start, np.minimum(points, start + self.clip_frames - 1))
        points = np.linspace(0, self.frames, self.frames // self.rate)
        padded = np.concatenate([points, np.full(self.num_frames - len(points), self.frames)])
        return self._from(0, np.minimum(padded, self.frames - 1))

    def spread_clip(self, number: int, count: int) -> ClipTimes:
        """Returns test clip `number` of `count`: every `rate`-th frame; a single one is a training clip."""
        if count == 1:
            return super().spread_clip(number, count)
        taken = np.arange(0, self.frames, self.rate)
        taken = np.pad(taken, (0, max(0, self.num_frames - len(taken))), mode="edge")
        first = int(number * (len(taken) - self.num_frames) / (count - 1))
        return self._from(int(taken[first]), taken[first : first + self.num_frames])
