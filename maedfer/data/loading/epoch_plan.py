"""The plan of an epoch: who reads which sample, for which batch, and where a run stands in it.

An epoch's order is what the epoch before left over (less than one global batch) followed by the samples of
all shards, the shards shuffled. The order is cut into contiguous ranges, one per rank and loader worker, so
that each worker reads its shards in sequence (they may be remote), and inside a range samples are shuffled in
a window. Nothing here reads a file: order, cut and window are worked out on numbers, and the readers follow.

Words. A *sample* is a number over all shards of the index. A *visit* is a sample in an epoch, as one number,
`epoch * samples + sample`: over a whole run every visit is made exactly once. A *leg* is a stretch of an
epoch dealt in one way; a run resumed with other ranks, workers or batches starts a new leg. A *cursor* is the
position of a run, the same on all ranks: the epoch, the visits carried into it, and its legs. What the legs
consumed is computed again from the cursor, and what is left, in the epoch's order, is dealt anew.

Where this departs from the usual WebDataset loader: nothing is resampled, dropped or seen twice, ranks always
have the same number of batches, and a resumed run continues with the very batch it would have had.
Randomness comes from raw PCG64 words, which numpy promises to keep, so a plan outlives library updates.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from maedfer.data.shards.table import ShardTable
from maedfer.randomness import random_words


@dataclass(frozen=True)
class Leg:
    """A stretch of an epoch dealt in one way.

    Attributes:
        world: Number of ranks.
        workers: Loader workers of each rank; 0 (the main process reads) is dealt like 1.
        batch: Samples in a rank's batch.
        window: Samples a worker holds to shuffle them.
        done: Batches of each rank that were trained in this leg.
    """

    world: int
    workers: int
    batch: int
    window: int
    done: int = 0

    @property
    def readers(self) -> int:
        """Readers of each rank."""
        return max(1, self.workers)

    def deals_like(self, other: "Leg") -> bool:
        """Whether both cut an order alike, so that one can go on where the other stopped."""
        return replace(self, workers=self.readers, done=0) == replace(other, workers=other.readers, done=0)


@dataclass(frozen=True)
class Cursor:
    """Where a run stands: the epoch, the visits carried into it, and what its legs consumed."""

    epoch: int = 0
    carried: tuple[int, ...] = ()
    legs: tuple[Leg, ...] = ()

    @property
    def done(self) -> int:
        """Batches of each rank trained in this epoch, over all legs."""
        return sum(leg.done for leg in self.legs)

    def state_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for a checkpoint."""
        legs = [[leg.world, leg.workers, leg.batch, leg.window, leg.done] for leg in self.legs]
        return {"epoch": self.epoch, "carried": list(self.carried), "legs": legs}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Cursor":
        """The cursor that a state describes."""
        return cls(int(state["epoch"]), tuple(state["carried"]), tuple(Leg(*leg) for leg in state["legs"]))


@dataclass(frozen=True)
class Reading:
    """What one worker reads and makes of it.

    Attributes:
        sequence: Visits in the order they lie in the shards, int64 (n,).
        batches: Visits of each batch, int64 (m, batch).
        numbers: Number of each batch within its epoch, int64 (m,).
    """

    sequence: np.ndarray
    batches: np.ndarray
    numbers: np.ndarray


class EpochPlan:
    """The plan of every epoch of a run: a pure function of the seed, the shards, a choice and a cursor.

    Args:
        table: The shards.
        seed: Seed of the run.
        chosen: Numbers of the samples that take part, int64 (n,), ascending; None takes all. Visits are
            numbered over all samples of the shards whatever the choice.
    """

    def __init__(self, table: ShardTable, seed: int, chosen: np.ndarray | None = None) -> None:
        self.table = table
        self.seed = seed
        self.chosen = np.arange(table.samples) if chosen is None else np.asarray(chosen, dtype=np.int64)
        self._runs = np.split(self.chosen, np.searchsorted(self.chosen, table.starts[1:]))

    @property
    def samples(self) -> int:
        """Samples that take part in an epoch."""
        return len(self.chosen)

    @property
    def choice(self) -> str | None:
        """A fingerprint of the samples chosen; None where all take part."""
        if self.samples == self.table.samples:
            return None
        return hashlib.sha256(self.chosen.astype("<i8").tobytes()).hexdigest()

    def enter(self, cursor: Cursor, leg: Leg) -> Cursor:
        """The same position, the rest of the epoch dealt as `leg` says.

        Raises:
            ValueError: fewer samples take part than one global batch holds.
        """
        needed = leg.world * leg.batch
        if self.samples < needed:
            raise ValueError(
                f"{self.samples} training samples are fewer than one batch on every rank "
                f"({leg.world} ranks x {leg.batch} samples = {needed}): lower --data.batch_size, "
                "or draw several clips of each with --data.clips_per_sample"
            )
        trained = tuple(old for old in cursor.legs if old.done)
        if trained and trained[-1].deals_like(leg):
            return replace(cursor, legs=trained)
        return replace(cursor, legs=(*trained, replace(leg, done=0)))

    def batches(self, cursor: Cursor) -> int:
        """Batches of each rank in the cursor's epoch, those done included."""
        earlier = sum(leg.done for leg in cursor.legs[:-1])
        return earlier + self._batches_left(self._dealt(cursor), cursor.legs[-1])

    def advance(self, cursor: Cursor) -> Cursor:
        """One batch further."""
        last = cursor.legs[-1]
        return replace(cursor, legs=(*cursor.legs[:-1], replace(last, done=last.done + 1)))

    def next_epoch(self, cursor: Cursor) -> Cursor:
        """The start of the next epoch, with the visits too few for one more batch carried into it."""
        order, leg = self._dealt(cursor), cursor.legs[-1]
        carried = order[self._batches_left(order, leg) * leg.world * leg.batch :]
        return Cursor(cursor.epoch + 1, tuple(carried.tolist()), (replace(leg, done=0),))

    def reading(self, cursor: Cursor, rank: int, worker: int) -> Reading:
        """What the loader's worker number `worker` does from the cursor to the end of the epoch.

        A loader asks worker 0 for its first batch, worker 1 for the second and so on, also when it starts in
        the middle of an epoch: worker numbers are turned so that each range stays with its reader.
        """
        leg = cursor.legs[-1]
        reader = (leg.done + worker) % leg.readers
        part = self._part(self._dealt(cursor), leg, rank, reader)
        batches = self._shuffled(part, cursor.epoch, len(cursor.legs), leg, rank, reader)
        numbers = np.arange(reader, reader + len(batches) * leg.readers, leg.readers)
        left = numbers >= leg.done
        sequence = part[np.isin(part, batches[left])]
        return Reading(sequence, batches[left], numbers[left] + cursor.done - leg.done)

    def _dealt(self, cursor: Cursor) -> np.ndarray:
        """Visits that the cursor's last leg was given, in the epoch's order."""
        order = self.order(cursor)
        for number, leg in enumerate(cursor.legs[:-1], start=1):
            order = order[~np.isin(order, self._consumed(order, cursor.epoch, number, leg))]
        return order

    def _consumed(self, order: np.ndarray, epoch: int, number: int, leg: Leg) -> np.ndarray:
        """Visits trained in leg `number` of an epoch, which was given `order`."""
        consumed = []
        for rank, reader in product(range(leg.world), range(leg.readers)):
            part = self._part(order, leg, rank, reader)
            batches = self._shuffled(part, epoch, number, leg, rank, reader)
            consumed.append(batches[: len(range(reader, leg.done, leg.readers))].ravel())
        return np.concatenate(consumed)

    def _part(self, order: np.ndarray, leg: Leg, rank: int, reader: int) -> np.ndarray:
        """The contiguous range of an order that one reader gets, a whole number of batches."""
        per_rank = self._batches_left(order, leg)
        sizes = [len(range(number, per_rank, leg.readers)) * leg.batch for number in range(leg.readers)]
        start = rank * per_rank * leg.batch + sum(sizes[:reader])
        return order[start : start + sizes[reader]]

    def _shuffled(
        self, part: np.ndarray, epoch: int, number: int, leg: Leg, rank: int, reader: int
    ) -> np.ndarray:
        """The batches (m, batch) that a reader makes of its range, in order."""
        # Named by the range, not by who reads it: one rank with two workers deals what two ranks with one do.
        name = (self.seed, "window", epoch, number, 0, rank * leg.readers + reader)
        return shuffle_in_window(part, leg.window, name).reshape(-1, leg.batch)

    def order(self, cursor: Cursor) -> np.ndarray:
        """Visits of the whole epoch: those carried into it, then all samples chosen, shards shuffled."""
        words = random_words(len(self.table), self.seed, "shards", cursor.epoch)
        runs = [self._runs[shard] for shard in np.argsort(words)]
        carried = np.array(cursor.carried, dtype=np.int64)
        return np.concatenate([carried, np.concatenate(runs) + cursor.epoch * self.table.samples])

    def spread(self, count: int, shards: int = 16) -> np.ndarray:
        """Up to `count` samples from the start of a few random shards, always the same, in reading order."""
        order = self.order(Cursor())
        shard = np.searchsorted(self.table.starts, order, side="right")
        turn = np.cumsum(np.diff(shard, prepend=shard[:1]) != 0)
        position = order - self.table.starts[shard - 1]
        picked = np.lexsort((turn, position, turn >= shards))[:count]
        return order[np.sort(picked[turn[picked] < shards])]

    @staticmethod
    def _batches_left(order: np.ndarray, leg: Leg) -> int:
        return len(order) // (leg.world * leg.batch)


def shuffle_in_window(part: np.ndarray, window: int, name: tuple[str | int, ...]) -> np.ndarray:
    """The order in which a range leaves a shuffle window of `window` samples.

    The window fills in sequence; each sample that comes in puts out a random one of those held, so a reader
    never holds more than `window` samples, the one just read aside.
    """
    window = min(max(window, 1), len(part))
    words = random_words(len(part), *name)
    slots = (words[: len(part) - window] % np.uint64(max(window, 1))).tolist()
    held, leaving = part[:window].tolist(), []
    for visit, slot in zip(part[window:].tolist(), slots, strict=True):
        leaving.append(held[slot])
        held[slot] = visit
    leaving += [held[index] for index in np.argsort(words[len(part) - window :])]
    return np.array(leaving, dtype=np.int64)


def evaluation_reading(numbers: np.ndarray, samples: int, leg: Leg, rank: int, worker: int) -> Reading:
    """Each of some samples once, in order: rank shares differ by one at most, and ranks have as many batches.

    The `numbers` of the samples, int64 (n,), ascending and not empty, are cut into contiguous shares per rank
    and worker. A last batch is filled up with repeats of one sample, as visits of later epochs (`samples`, of
    the whole split, and more), so that uneven ends neither hang nor, left out by their number, count twice.
    """
    shares = np.array_split(numbers, leg.world)
    per_rank = -(-len(shares[0]) // leg.batch)
    missing = per_rank * leg.batch - len(shares[rank])
    repeated = shares[rank][-1] if len(shares[rank]) else numbers[-1]
    padded = np.concatenate([shares[rank], repeated + samples * np.arange(1, missing + 1)])
    turns = np.arange(worker, per_rank, leg.readers)
    first = sum(len(range(number, per_rank, leg.readers)) for number in range(worker))
    batches = padded.reshape(-1, leg.batch)[first : first + len(turns)]
    return Reading(batches.ravel(), batches, turns)
