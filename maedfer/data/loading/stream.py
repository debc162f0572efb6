"""Makes batches of clips in a loader worker: follows the plan, decodes each sample once, draws its clips.

Start, crop, flip and mask of a clip are a hash of (seed, epoch, key, view), never of the rank, the worker or
the position in a batch.

A sample that cannot be read or decoded is left out and named in the batch. Further views of good samples of
the same batch take its place, so that shapes stay the same on all ranks. `valid` is False for them in
evaluation; in training they count like any other clip.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from einops import rearrange
from torch.utils.data import IterableDataset, get_worker_info

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.clip_maker import Clip, ClipMaker
from maedfer.data.loading.epoch_plan import Reading
from maedfer.data.loading.shared_batches import SharedBatch, SharedBlocks
from maedfer.data.shards.reader import RawSample, ShardReader, UnusableSample
from maedfer.errors import UserError

Memory = Callable[[Sequence[int]], torch.Tensor]
"""Returns an empty uint8 tensor of a shape, for the clips of a batch."""

_own_memory: Memory = partial(torch.empty, dtype=torch.uint8)


class ClipStream(IterableDataset[ClipBatch | SharedBatch | UserError]):
    """Yields batches of clips in the order of a plan; each loader worker makes its own share of them.

    Args:
        reader: Reads samples by their visits.
        deal: Returns the samples and batches of a worker, by its number.
        maker: Makes clips of samples.
        epoch: Epoch of the plan.
    """

    def __init__(
        self, reader: ShardReader, deal: Callable[[int], Reading], maker: ClipMaker, epoch: int = 0
    ) -> None:
        self._reader, self._deal, self._maker, self._epoch = reader, deal, maker, epoch
        self._spare: list[Clip] = []

    def __iter__(self) -> Iterator[ClipBatch | SharedBatch | UserError]:
        """Yields the batches of this worker.

        A worker process yields wrong input as its last item instead of raising it, so that the user reads
        one line and not the worker's traceback.
        """
        worker = get_worker_info()
        if worker is None:
            yield from self.batches(self._deal(0))
            return
        try:
            yield from map(SharedBatch, self.batches(self._deal(worker.id), SharedBlocks().empty))
        except UserError as error:
            yield error
        except OSError as error:
            yield UserError(None, str(error))

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
        next(arriving, None)  # lets the reader check that the last shard ends where its index says

    def _batch(
        self, number: int, samples: Sequence[tuple[int, RawSample | UnusableSample]], memory: Memory
    ) -> ClipBatch:
        """Decodes the samples of a batch, replaces broken ones, and stacks their clips.

        Raises:
            UserError: no sample is good, and no earlier batch of an evaluation can take its place.
        """
        made: dict[int, list[Clip]] = {}
        broken: list[tuple[str, str]] = []
        for place, (visit, raw) in enumerate(samples):
            try:
                made[place] = self._clips(visit, raw, turn=0)
            except UnusableSample as error:
                if self._counts(visit):  # a repeat was counted in its own place
                    broken.append((error.name, error.reason))
        broken += _remove_other_sizes(made)
        donors = sorted(made)
        if not donors and (self._maker.training or not self._spare):
            named = "; ".join(f"{name}: {reason}" for name, reason in broken[:3])
            raise UserError("shards", f"no sample of a batch can be used ({named}): run `maedfer verify`")
        if not donors:  # clips of an earlier batch, so that an evaluation goes on
            made = dict.fromkeys(range(len(samples)), self._spare)
        for turn, place in enumerate(sorted(set(range(len(samples))) - set(made))):
            visit, raw = samples[donors[turn % len(donors)]]
            made[place] = self._clips(visit, raw, turn=1 + turn // len(donors))
        self._spare = made[0]
        own = [place in donors and self._counts(visit) for place, (visit, _) in enumerate(samples)]
        valid = torch.tensor(own) | self._maker.training
        clips = [clip for place in range(len(samples)) for clip in made[place]]
        return ClipBatch(
            clips=rearrange(_stacked(clips, memory), "b t h w c -> b t c h w"),
            boxes=torch.tensor([clip.box for clip in clips], dtype=torch.float32),
            flips=torch.tensor([clip.flip for clip in clips]),
            masks=_stacked_or_none([clip.mask for clip in clips]),
            targets=_stacked_or_none([clip.target for clip in clips]),
            seeds=[clip.seed for clip in clips],
            valid=valid.repeat_interleave(self._maker.clips_per_sample),
            keys=[clip.key for clip in clips],
            starts=[clip.start_s for clip in clips],
            epoch=self._epoch,
            batch=number,
            broken=broken,
        )

    def _clips(self, visit: int, raw: RawSample | UnusableSample, turn: int) -> list[Clip]:
        """Returns the views of a sample in its own place (turn 0), or further ones for a broken sample."""
        if isinstance(raw, UnusableSample):
            raise raw
        count = self._maker.clips_per_sample
        views = range(turn * count, (turn + 1) * count)
        return self._maker.clips(raw, visit // self._reader.table.samples, views)

    def _counts(self, visit: int) -> bool:
        """Returns whether a visit counts; in an evaluation, later ones only fill up a last batch."""
        return self._maker.training or visit < self._reader.table.samples


def _remove_other_sizes(made: dict[int, list[Clip]]) -> list[tuple[str, str]]:
    """Removes samples whose stored size is not that of most samples; returns their keys and the reason."""
    sizes = {place: clips[0].frames.shape[1:3] for place, clips in made.items()}
    usual = max(sizes.values(), key=list(sizes.values()).count, default=())
    removed = []
    for place, (height, width) in sizes.items():
        if (height, width) != usual:
            reason = f"stored at {width}x{height}, others at {usual[1]}x{usual[0]}: pack with one size"
            removed.append((made.pop(place)[0].key, reason))
    return removed


def _stacked(clips: Sequence[Clip], memory: Memory) -> torch.Tensor:
    """Copies the frames of clips into `memory`, uint8 (B, T, H, W, 3).

    They keep this order of axes in memory: transposing them is left to the device.
    """
    frames = memory((len(clips), *clips[0].frames.shape))
    np.stack([clip.frames for clip in clips], out=frames.numpy())
    return frames


def _stacked_or_none(arrays: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """Stacks arrays; returns None where there are none."""
    present = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(present)) if present else None


def in_this_order(batches: np.ndarray, worker: int) -> Reading:
    """Returns the reading of given visits (m, batch), in this order, for one worker."""
    return Reading(batches.ravel(), batches, np.arange(len(batches)))
