"""Makes the clips of one sample: draws times, crops, flips and masks, and decodes the frames once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.labels.targets import LabelReader
from maedfer.data.loading.clip_times import TrackTime
from maedfer.data.loading.masks import MaskSpec
from maedfer.data.loading.upstream_draws import SharedDraws
from maedfer.data.loading.views import Box, ViewSpec
from maedfer.data.shards.encoding import decode_frames
from maedfer.data.shards.reader import RawSample, UnusableSample
from maedfer.data.shards.records import BrokenSample, TrackRecord
from maedfer.randomness import seed_of


@dataclass(frozen=True)
class Clip:
    """One clip of a sample: frames uint8 (T, H, W, 3), what was drawn for it, and its target float32 (K,)."""

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
        views: How crops and flips are drawn.
        masks: How masks are drawn; None draws none.
        training: Random starts and a new draw every epoch; otherwise evenly spread starts, the same always.
        interval_s: Seconds between the frames of a clip.
        labels: Reads the target of a sample out of its record; None reads none.
        augment: Changes the stored frames of a clip in training, as a function of uint8 (T, H, W, 3) and a
            seed that gives the same again; None leaves them as they are.
        time_line: Says where clips lie in a track.
        shared: What the workers of a rank draw alike, as upstream's do; `augment` then takes a second seed,
            the shared one. None lets every sample have its own draws.
    """

    seed: int = 0
    clips_per_sample: int = 1
    num_frames: int = NUM_FRAMES
    views: ViewSpec = field(default_factory=ViewSpec)
    masks: MaskSpec | None = None
    training: bool = True
    interval_s: float = FRAME_INTERVAL_S
    labels: LabelReader | None = None
    augment: Callable[..., np.ndarray] | None = None
    time_line: type[TrackTime] = TrackTime
    shared: SharedDraws | None = None

    def clips(
        self, raw: RawSample, epoch: int, views: Sequence[int], at: tuple[int, int] = (0, 0)
    ) -> list[Clip]:
        """The given views of a sample, from one decoding, for the batch and the place in it that `at` says.

        Raises:
            UnusableSample: the record or the frames are damaged.
        """
        try:
            record = TrackRecord.from_json(raw.record)
            if record.key != raw.key:
                raise BrokenSample(None, f"its record is that of {record.key}")
            track = self.time_line(record.frames, record.fps, self.num_frames, self.interval_s)
            names = [(self.seed, epoch if self.training else "held out", raw.key, view) for view in views]
            alike = names if self.shared is None else self._alike(epoch, views, at)
            times = [
                track.random_clip(_rng(*name, "start"))
                if self.training
                else track.spread_clip(view % self.clips_per_sample, self.clips_per_sample)
                for view, name in zip(views, alike, strict=True)
            ]
            wanted = np.unique(np.concatenate([time.indices for time in times]))
            frames = decode_frames(raw.frames, record, wanted)
            target = self._target(record)
        except ValueError as error:
            raise UnusableSample(raw.key, str(error)) from error
        clips = []
        for time, name, common in zip(times, names, alike, strict=True):
            box, flip = self.views.draw(_rng(*name, "view"), *frames.shape[1:3])
            mask = None if self.masks is None else self.masks.draw(_rng(*name, "mask"))
            alone = np.array_equal(time.indices, wanted)  # spares a copy where there is one clip
            chosen = frames if alone else frames[np.searchsorted(wanted, time.indices)]
            seed = seed_of(*name, "augment") >> 65  # 63 bits: torch's seeds are signed
            seeds = [seed]
            if self.shared is not None:
                flip = self.views.flips(_rng(*common, "flip"))
                seeds.append(seed_of(*common, "operations") >> 65)
            if self.augment is not None and self.training:
                chosen = self.augment(chosen, *seeds)
            clips.append(Clip(chosen, box, flip, mask, raw.key, time.start_s, seed, target))
        return clips

    def _alike(self, epoch: int, views: Sequence[int], at: tuple[int, int]) -> list[tuple[str | int, ...]]:
        """Names of the draws that the views of a sample share with those of other workers' samples."""
        return [(self.seed, epoch, *self.shared.name(*at), view) for view in views]

    def _target(self, record: TrackRecord) -> np.ndarray | None:
        """The target of a sample float32 (K,), NaN without a label; None where no labels are read."""
        if self.labels is None:
            return None
        target = self.labels.target(record)
        return np.full(len(self.labels.names), np.nan, np.float32) if target is None else target


def _rng(*name: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_of(*name)))
