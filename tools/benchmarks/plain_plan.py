"""The plain way to plan an epoch: lay the whole order out, cut it, and shuffle it sample by sample.

It deals the same batches as `EpochPlan`, which computes the range of one worker only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.randomness import random_words

Batches = dict[int, list[int]]
"""Visits by the number of the batch."""


def plain_batches(
    counts: Sequence[int], seed: int, cursor: Cursor, rank: int, chosen: np.ndarray | None = None
) -> Batches:
    """Returns the batches that a rank has left in the cursor's epoch, by their number in it.

    Args:
        counts: samples of each shard.
        seed: of the run.
        cursor: the position.
        rank: from 0 on.
        chosen: numbers of the samples that take part; None for all.
    """
    order = plain_order(counts, seed, cursor, chosen)
    place, leg = len(cursor.legs), cursor.legs[-1]
    dealt = _dealt(order, rank, leg, (seed, "window", cursor.epoch, place))
    earlier = cursor.done - leg.done
    return {earlier + number: batch for number, batch in sorted(dealt.items()) if number >= leg.done}


def plain_order(
    counts: Sequence[int], seed: int, cursor: Cursor, chosen: np.ndarray | None = None
) -> np.ndarray:
    """Returns the visits that the cursor's last leg is given, in order, int64 (n,)."""
    total, ends = sum(counts), np.cumsum(counts)
    shards = np.argsort(random_words(len(counts), seed, "shards", cursor.epoch))
    order = np.concatenate([np.arange(ends[shard] - counts[shard], ends[shard]) for shard in shards])
    if chosen is not None:
        order = order[np.isin(order, chosen)]
    order = np.append(np.array(cursor.carried, np.int64), order + cursor.epoch * total)
    for place, leg in enumerate(cursor.legs[:-1], start=1):
        name = (seed, "window", cursor.epoch, place)
        ranks = [_dealt(order, rank, leg, name) for rank in range(leg.world)]
        trained = [visit for dealt in ranks for number in range(leg.done) for visit in dealt[number]]
        order = order[~np.isin(order, trained)]
    return order


def _dealt(order: np.ndarray, rank: int, leg: Leg, name: tuple[str | int, ...]) -> Batches:
    """Returns all batches that a leg deals to a rank, by their number in the leg."""
    per_rank = len(order) // (leg.world * leg.batch)
    start, dealt = rank * per_rank * leg.batch, {}
    for reader in range(leg.readers):
        numbers = range(reader, per_rank, leg.readers)
        share = order[start : start + len(numbers) * leg.batch].tolist()
        start += len(share)
        leaving = plain_shuffle(share, leg.window, (*name, 0, rank * leg.readers + reader))
        dealt |= {n: leaving[turn * leg.batch :][: leg.batch] for turn, n in enumerate(numbers)}
    return dealt


def plain_shuffle(share: list[int], window: int, name: tuple[str | int, ...]) -> list[int]:
    """Returns a share in the order in which it leaves a shuffle window, one sample after the other."""
    words = random_words(len(share), *name).tolist()
    held, leaving = [], []
    for place, visit in enumerate(share):
        if len(held) < max(window, 1):
            held.append(visit)
            continue
        slot = words[place - len(held)] % len(held)
        leaving.append(held[slot])
        held[slot] = visit
    last = sorted(zip(words[len(leaving) :], held, strict=True))
    return leaving + [visit for _, visit in last]
