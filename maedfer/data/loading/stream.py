"""The stream of batches that a loader worker makes: follow the plan, decode once, draw clips and masks.

What happens to a sample (where its clips start, crop, flip, mask) is a hash of (seed, epoch, key, view),
never of the rank, the worker or the place in a batch (but see `official_draws`). One decoding serves all
clips drawn from a sample.

A sample that cannot be read or decoded is left out and named in the batch. Its places are filled with further
views of good samples of the same batch, so that shapes stay the same on all ranks; `valid` is False there in
evaluation, while in training those clips are as good as any other.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from einops import rearrange
from torch.utils.data import IterableDataset, get_worker_info

from maedfer.data.loading.batch import ClipBatch, WorkerFailure
from maedfer.data.loading.clip_maker import Clip, ClipMaker
from maedfer.data.loading.epoch_plan import Reading
from maedfer.data.loading.shared_batches import SharedBatch, SharedBlocks
from maedfer.data.shards.reader import RawSample, ShardReader, UnusableSample
from maedfer.errors import UserError

Memory = Callable[[Sequence[int]], torch.Tensor]
"""Gives an empty uint8 tensor of a shape, for the clips of a batch."""

_own_memory: Memory = partial(torch.empty, dtype=torch.uint8)


class ClipStream(IterableDataset):
    """Batches of clips, in the order of a plan; each loader worker makes its own share of them.

    Args:
        reader: Reads samples by their visits.
        deal: What the worker of a number reads, and the batches it makes.
        maker: Makes clips of samples.
        epoch: The plan's epoch.
    """

    def __init__(
        self, reader: ShardReader, deal: Callable[[int], Reading], maker: ClipMaker, epoch: int = 0
    ) -> None:
        self._reader, self._deal, self._maker, self._epoch = reader, deal, maker, epoch
        self._spare: list[Clip] = []

    def __iter__(self) -> Iterator[ClipBatch | SharedBatch | WorkerFailure]:
        """Yields the batches of this worker.

        A worker process yields wrong input as a `WorkerFailure`, so that the user reads one line and not the
        worker's traceback; in the main process it is raised.
        """
        worker = get_worker_info()
        if worker is None:
            yield from self.batches(self._deal(0))
            return
        try:
            yield from map(SharedBatch, self.batches(self._deal(worker.id), SharedBlocks().empty))
        except UserError as error:
            yield WorkerFailure(error.parameter, error.message)
        except (ValueError, OSError) as error:
            yield WorkerFailure(None, str(error))

    def batches(self, reading: Reading, memory: Memory = _own_memory) -> Iterator[ClipBatch]:
        """Follows a reading: holds raw samples until their batch is due, then makes it, clips in `memory`."""
        arriving, held = self._reader.read(reading.sequence), {}
        for number, visits in zip(reading.numbers.tolist(), reading.batches.tolist(), strict=True):
            for visit in visits:
                while visit not in held:
                    arrived, raw = next(arriving)
                    held[arrived] = raw
            samples = [(visit, held.pop(visit)) for visit in visits]
            yield self._batch(number, samples, memory)
        next(arriving, None)  # lets the reader see that the last shard ends where its index says

    def _batch(
        self, number: int, samples: Sequence[tuple[int, RawSample | UnusableSample]], memory: Memory
    ) -> ClipBatch:
        """Decodes the samples of a batch, fills the places of broken ones, and stacks their clips."""
        made: dict[int, list[Clip]] = {}
        broken: list[tuple[str, str]] = []
        for place, (visit, raw) in enumerate(samples):
            try:
                made[place] = self._clips(visit, raw, (number, place), turn=0)
            except UnusableSample as error:
                if self._maker.training or self._counts(visit):  # what only fills up was counted in its place
                    broken.append((error.name, error.reason))
        broken += _of_another_size(made)
        donors = sorted(made)
        if not donors:
            made = dict.fromkeys(range(len(samples)), self._spare_clips(broken))
        for turn, place in enumerate(sorted(set(range(len(samples))) - set(made))):
            donor = donors[turn % len(donors)]
            made[place] = self._clips(*samples[donor], (number, place), turn=1 + turn // len(donors))
        self._spare = made[0]
        counted = [place in donors and self._counts(visit) for place, (visit, _) in enumerate(samples)]
        valid = np.repeat(counted, self._maker.clips_per_sample) | self._maker.training
        clips = [clip for place in range(len(samples)) for clip in made[place]]
        return ClipBatch(
            clips=rearrange(_stacked(clips, memory), "b t h w c -> b t c h w"),
            boxes=torch.tensor([clip.box for clip in clips], dtype=torch.float32),
            flips=torch.tensor([clip.flip for clip in clips]),
            masks=_stacked_or_none([clip.mask for clip in clips]),
            targets=_stacked_or_none([clip.target for clip in clips]),
            seeds=[clip.seed for clip in clips],
            valid=torch.from_numpy(valid),
            keys=[clip.key for clip in clips],
            starts=[clip.start_s for clip in clips],
            epoch=self._epoch,
            batch=number,
            broken=broken,
        )

    def _clips(
        self, visit: int, raw: RawSample | UnusableSample, at: tuple[int, int], turn: int
    ) -> list[Clip]:
        """The views of a sample for its own place (turn 0), or further ones for the place of a broken one."""
        if isinstance(raw, UnusableSample):
            raise raw
        count = self._maker.clips_per_sample
        views = range(turn * count, (turn + 1) * count)
        return self._maker.clips(raw, visit // self._reader.table.samples, views, at)

    def _spare_clips(self, broken: Sequence[tuple[str, str]]) -> list[Clip]:
        """Clips of an earlier batch in place of one of which nothing counts, so that an evaluation goes on.

        Raises:
            ValueError: in training, or where nothing came before.
        """
        if self._maker.training or not self._spare:
            named = "; ".join(f"{name}: {reason}" for name, reason in broken[:3])
            raise ValueError(f"no sample of a batch can be used ({named}): run `maedfer verify`")
        return self._spare

    def _counts(self, visit: int) -> bool:
        """Whether a visit counts in an evaluation; later ones only fill up a last batch."""
        return visit < self._reader.table.samples


def _of_another_size(made: dict[int, list[Clip]]) -> list[tuple[str, str]]:
    """Take out samples whose stored size is not that of most samples of the batch, and name them."""
    sizes = {place: clips[0].frames.shape[1:3] for place, clips in made.items()}
    usual = max(sizes.values(), key=list(sizes.values()).count, default=None)
    odd = [place for place, size in sizes.items() if size != usual]
    named = []
    for place in odd:
        (height, width), key = sizes[place], made.pop(place)[0].key
        reason = f"stored at {width}x{height}, others at {usual[1]}x{usual[0]}: pack with one --size"
        named.append((key, reason))
    return named


def _stacked(clips: Sequence[Clip], memory: Memory) -> torch.Tensor:
    """Copies the frames of clips into `memory`, uint8 (B, T, H, W, 3).

    They keep this order of axes in memory: turning them around is the device's work.
    """
    frames = memory((len(clips), *clips[0].frames.shape))
    np.stack([clip.frames for clip in clips], out=frames.numpy())
    return frames


def _stacked_or_none(arrays: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """Stacks arrays; returns None where there are none."""
    present = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(present)) if present else None


def in_this_order(batches: np.ndarray, worker: int) -> Reading:
    """The reading of given visits (m, batch), as they come, for one worker."""
    return Reading(batches.ravel(), batches, np.arange(len(batches)))
