"""The plan of an epoch: who reads which sample, for which batch, and where a run stands in it.

An epoch's order is what the epoch before left over (less than one global batch) followed by the samples of
all shards, the shards shuffled. The order is cut into contiguous ranges, one per rank and loader worker, so
that each worker reads its shards in sequence (they may be remote), and inside a range samples are shuffled in
a window. Nothing here reads a file: order, cut and window are computed on numbers, and the readers follow.

Words. A *sample* is a number over all shards of the index. A *visit* is a sample in an epoch, as one number,
`epoch * samples + sample`: over a whole run every visit is made exactly once. A *leg* is a stretch of an
epoch dealt in one way; a run resumed with other ranks, workers or batches starts a new leg. A *cursor* is the
position of a run, the same on all ranks: the epoch, the visits carried into it, and its legs. What the legs
consumed is computed again from the cursor, and what is left, in the epoch's order, is dealt anew.

A worker computes its own range and nothing else of the order's length: its cost is that of its share, a few
numbers for each shard, and for each earlier leg a window for each of its readers.

Where this departs from the usual WebDataset loader: nothing is resampled, dropped or seen twice, ranks always
have the same number of batches, and a resumed run continues with the very batch it would have had.
Randomness comes from raw PCG64 words, which numpy promises to keep, so a plan outlives library updates.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.data.loading.epoch_order import EpochOrder, Runs
from maedfer.data.loading.window import Name, held_after, leaving_order
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError
from maedfer.randomness import random_words

Numbers = NDArray[np.int64] | range
"""Numbers of samples, ascending."""


@dataclass(frozen=True)
class Reading:
    """The samples that one worker reads, and the batches it makes of them.

    Attributes:
        sequence: Visits in the order they lie in the shards, int64 (n,).
        batches: Visits of each batch, int64 (m, batch).
        numbers: Number of each batch within its epoch, int64 (m,).
    """

    sequence: NDArray[np.int64]
    batches: NDArray[np.int64]
    numbers: NDArray[np.int64]


class EpochPlan:
    """The plan of every epoch of a run: a pure function of the seed, the shards, a choice and a cursor.

    Args:
        table: The shards.
        seed: Seed of the run.
        chosen: Numbers of the samples that take part, (n,), ascending; None takes all. Visits are numbered
            over all samples of the shards whatever the choice.
    """

    def __init__(self, table: ShardTable, seed: int, chosen: Numbers | None = None) -> None:
        self.table, self.seed = table, seed
        every = chosen is None or len(chosen) == table.samples
        self.chosen = None if every else np.asarray(chosen, np.int64)

    @property
    def samples(self) -> int:
        """Samples that take part in an epoch."""
        return self.table.samples if self.chosen is None else len(self.chosen)

    @cached_property
    def choice(self) -> str | None:
        """A fingerprint of the samples chosen; None where all take part."""
        if self.chosen is None:
            return None
        return hashlib.sha256(self.chosen.astype("<i8").tobytes()).hexdigest()

    def enter(self, cursor: Cursor, leg: Leg) -> Cursor:
        """Returns the same position, the rest of the epoch dealt as `leg` says.

        Raises:
            UserError: fewer samples take part than one global batch holds.
        """
        if self.samples < leg.step:
            raise UserError(
                "batch_size",
                f"{self.samples} training samples are fewer than one batch on every rank "
                f"({leg.world} ranks x {leg.batch} samples = {leg.step}): lower it, or draw several clips "
                "of each sample with `clips_per_sample`",
            )
        trained = tuple(old for old in cursor.legs if old.done)
        if trained and trained[-1].deals_like(leg):
            return replace(cursor, legs=trained)
        return replace(cursor, legs=(*trained, replace(leg, done=0)))

    def batches(self, cursor: Cursor) -> int:
        """Returns the batches of each rank in the cursor's epoch, those done included."""
        *earlier, leg = cursor.legs
        left = self.samples + len(cursor.carried) - sum(old.done * old.step for old in earlier)
        return sum(old.done for old in earlier) + left // leg.step

    def advance(self, cursor: Cursor) -> Cursor:
        """Returns the position one batch further."""
        last = cursor.legs[-1]
        return replace(cursor, legs=(*cursor.legs[:-1], replace(last, done=last.done + 1)))

    def next_epoch(self, cursor: Cursor) -> Cursor:
        """Returns the start of the next epoch, with the visits too few for one more batch carried into it."""
        order, leg = self.order(cursor), cursor.legs[-1]
        carried = order.visits(len(order) // leg.step * leg.step, len(order))
        return Cursor(cursor.epoch + 1, tuple(carried.tolist()), (replace(leg, done=0),))

    def reading(self, cursor: Cursor, rank: int, worker: int) -> Reading:
        """Returns what the loader's worker number `worker` reads from the cursor to the end of the epoch.

        A loader asks worker 0 for its first batch, worker 1 for the second and so on, also when it starts in
        the middle of an epoch: worker numbers are turned so that each range stays with its reader.
        """
        order, leg = self.order(cursor), cursor.legs[-1]
        reader = (leg.done + worker) % leg.readers
        start, end = leg.share(len(order), rank, reader)
        name = self._window_name(cursor.epoch, len(cursor.legs), leg, rank, reader)
        done = leg.turns(reader, leg.done)
        places = leaving_order(end - start, leg.window, name).reshape(-1, leg.batch)[done:]
        numbers = reader + leg.readers * np.arange(done, done + len(places)) + cursor.done - leg.done
        visits = order.visits(start, end)
        return Reading(visits[np.sort(places, axis=None)], visits[places], numbers)

    def order(self, cursor: Cursor) -> EpochOrder:
        """Returns the visits that the cursor's last leg is given: those of the epoch not trained before.

        An epoch has the visits carried into it, then all samples chosen, shards shuffled.
        """
        words = random_words(len(self.table), self.seed, "shards", cursor.epoch)
        firsts = self.table.starts if self.chosen is None else np.searchsorted(self.chosen, self.table.starts)
        counts, turn = np.diff(firsts, append=self.samples), np.argsort(words)
        carried = np.array(cursor.carried, np.int64)
        runs = Runs.of(np.append(0, firsts[turn] + len(carried)), np.append(len(carried), counts[turn]))
        layers = [runs]
        for number, leg in enumerate(cursor.legs[:-1], start=1):
            layers.append(self._left(len(layers[-1]), cursor.epoch, number, leg))
        return EpochOrder(carried, self.chosen, cursor.epoch * self.table.samples, tuple(layers))

    def _left(self, samples: int, epoch: int, number: int, leg: Leg) -> Runs:
        """Returns the places of the order given to leg `number`, of `samples` visits, that it did not train.

        Of each reader's range these are the samples in its window and all behind them.
        """
        firsts, lengths = [], []
        for rank, reader in product(range(leg.world), range(leg.readers)):
            start, end = leg.share(samples, rank, reader)
            left = leg.turns(reader, leg.done) * leg.batch
            name = self._window_name(epoch, number, leg, rank, reader)
            held, read = held_after(left, end - start, leg.window, name)
            firsts += [start + held, [start + read]]
            lengths += [np.ones_like(held), [end - start - read]]
        dealt = samples // leg.step * leg.step
        return Runs.of(np.concatenate([*firsts, [dealt]]), np.concatenate([*lengths, [samples - dealt]]))

    def _window_name(self, epoch: int, number: int, leg: Leg, rank: int, reader: int) -> Name:
        """Returns the name that the window of a range is shuffled by.

        It names the range, not its reader: one rank with two workers deals what two ranks with one deal.
        """
        return (self.seed, "window", epoch, number, 0, rank * leg.readers + reader)

    def spread(self, count: int, shards: int = 16) -> NDArray[np.int64]:
        """Returns up to `count` samples from the start of a few random shards, in reading order.

        They are the same in every call.
        """
        order = self.order(Cursor())
        ends = order.layers[0].ends
        samples, starts = order.visits(0, np.unique(ends[ends > 0])[:shards].max()), self.table.starts
        shard = np.searchsorted(starts, samples, side="right") - 1
        turn = np.cumsum(np.diff(shard, prepend=shard[:1]) != 0)
        picked = np.lexsort((turn, samples - starts[shard]))[:count]
        return samples[np.sort(picked)]


def evaluation_reading(numbers: Numbers, samples: int, leg: Leg, rank: int, worker: int) -> Reading:
    """Returns each of some samples once, in order: rank shares differ by one at most, and ranks have as many
    batches.

    The shares of ranks and workers are contiguous. A last batch is filled up with repeats of one sample, as
    visits of later epochs, so that uneven ends neither hang nor, left out by their number, count twice.

    Args:
        numbers: Numbers of the samples (n,), ascending and not empty.
        samples: Samples of the whole split.
        leg: Ranks, workers and batch size.
        rank: Of this process.
        worker: Of this rank.
    """
    smaller, larger = divmod(len(numbers), leg.world)
    start = rank * smaller + min(rank, larger)
    share = np.asarray(numbers[start : start + smaller + (rank < larger)], np.int64)
    per_rank = -(-len(numbers) // leg.step)
    missing = per_rank * leg.batch - len(share)
    repeated = share[-1] if len(share) else numbers[-1]
    padded = np.concatenate([share, repeated + samples * np.arange(1, missing + 1)])
    turns = np.arange(worker, per_rank, leg.readers)
    first = sum(leg.turns(earlier, per_rank) for earlier in range(worker))
    batches = padded.reshape(-1, leg.batch)[first : first + len(turns)]
    return Reading(batches.ravel(), batches, turns)
