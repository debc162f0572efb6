"""Makes the clips of one sample: draws times, crops, flips and masks, and decodes the frames once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.labels.targets import LabelReader
from maedfer.data.loading.clip_times import ClipSampler
from maedfer.data.loading.views import Box, ViewSpec
from maedfer.data.shards.encoding import decode_frames
from maedfer.data.shards.reader import RawSample, UnusableSample
from maedfer.data.shards.records import BrokenSample, TrackRecord
from maedfer.errors import UserError
from maedfer.randomness import seed_of

if TYPE_CHECKING:  # a worker that draws no masks starts without torch's models
    from maedfer.models.masking import MaskSpec


@dataclass(frozen=True)
class Clip:
    """A clip of a sample: frames uint8 (T, H, W, 3), the draws made for it, its target float32 (K,)."""

    frames: np.ndarray
    box: Box
    flip: bool
    mask: np.ndarray | None
    key: str
    start_s: float
    seed: int
    target: np.ndarray | None


@dataclass(frozen=True)
class ClipMaker:
    """Makes clips of a sample.

    Attributes:
        seed: Seed of the run.
        clips_per_sample: Clips drawn from each decoded sample.
        num_frames: Frames of a clip.
        views: Draws crops and flips.
        masks: Draws masks; None draws none.
        training: Random starts and a new draw every epoch; otherwise evenly spread starts, always the same.
        interval_s: Seconds between the frames of a clip.
        labels: Reads the target of a sample out of its record; None reads none.
        augment: Changes the frames of a clip in training, a function of uint8 (T, H, W, 3) and a seed that
            decides all it draws; None leaves them as they are.
        sampler: Chooses the frames of clips in a track.
    """

    seed: int = 0
    clips_per_sample: int = 1
    num_frames: int = NUM_FRAMES
    views: ViewSpec = field(default_factory=ViewSpec)
    masks: MaskSpec | None = None
    training: bool = True
    interval_s: float = FRAME_INTERVAL_S
    labels: LabelReader | None = None
    augment: Callable[[np.ndarray, int], np.ndarray] | None = None
    sampler: type[ClipSampler] = ClipSampler

    def clips(self, raw: RawSample, epoch: int, views: Sequence[int]) -> list[Clip]:
        """Returns the given views of a sample, from one decoding.

        Raises:
            UnusableSample: the record or the frames are damaged.
        """
        count = self.clips_per_sample
        names = [(self.seed, epoch if self.training else "held out", raw.key, view) for view in views]
        try:
            record = TrackRecord.from_json(raw.record)
            if record.key != raw.key:
                raise BrokenSample(None, f"its record is that of {record.key}")
            sampler = self.sampler(record.frames, record.fps, self.num_frames, self.interval_s)
            if self.training:
                times = [sampler.random_clip(_rng(*name, "start")) for name in names]
            else:
                times = [sampler.spread_clip(view % count, count) for view in views]
            stored = np.unique(np.concatenate([time.indices for time in times]))
            frames = decode_frames(raw.frames, record, stored)
            target = None if self.labels is None else self.labels.targets([record])[0]
        except UserError as error:
            raise UnusableSample(raw.key, str(error)) from error
        clips = []
        for time, name in zip(times, names, strict=True):
            alone = np.array_equal(time.indices, stored)  # spares a copy where there is one clip
            own = frames if alone else frames[np.searchsorted(stored, time.indices)]
            box, flip = self.views.draw(_rng(*name, "view"), *frames.shape[1:3])
            mask = None if self.masks is None else self.masks.draw(_rng(*name, "mask"))
            seed = seed_of(*name, "augment") >> 65  # 63 bits: torch's seeds are signed
            if self.augment is not None and self.training:
                own = self.augment(own, seed)
            clips.append(Clip(own, box, flip, mask, raw.key, time.start_s, seed, target))
        return clips


def _rng(*name: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_of(*name)))
