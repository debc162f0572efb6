"""The shuffle window of a reader: which samples leave it when, and which it still holds.

The window fills in sequence. Each further sample that comes in replaces a random one of those held, which
leaves; after the last one, those held leave in random order. So a reader never holds more than `window`
samples, the one just read aside. All functions work on places (0, 1, ...) in the reader's sequence.
"""

import numpy as np
from numpy.typing import NDArray

from maedfer.randomness import random_words

Name = tuple[str | int, ...]


def leaving_order(count: int, window: int, name: Name) -> NDArray[np.int64]:
    """Returns the places of `count` samples in the order in which they leave the window, int64 (count,)."""
    window = min(max(window, 1), count)
    words = random_words(count, *name)
    slots = np.concatenate([np.arange(window), _slots(words[: count - window], window)])
    # By slot, and in each slot as they come in: each sample but a slot's last leaves when the next comes.
    places = np.argsort(slots, kind="stable")
    replaced = np.diff(slots[places], append=-1) == 0
    leaving = np.empty(count, np.int64)
    leaving[places[np.flatnonzero(replaced) + 1] - window] = places[replaced]
    leaving[count - window :] = places[~replaced][np.argsort(words[count - window :])]
    return leaving


def held_after(left: int, count: int, window: int, name: Name) -> tuple[NDArray[np.int64], int]:
    """Returns what a window holds after `left` of `count` samples have left it.

    The cost follows the window, not the number of samples: only the last sample of each slot is looked for.

    Returns:
        Places of the samples held, ascending, and the first place that has not come in.
    """
    window = min(max(window, 1), count)
    read = min(window + left, count)
    held, end = np.arange(window), read - window
    while end and held.min() < window:  # some slot seems to hold its first sample
        start = max(0, end - 4 * window)
        slots = _slots(random_words(end - start, *name, start=start), window)
        np.maximum.at(held, slots, np.arange(window + start, window + end))
        end = start
    if left > count - window:
        last = np.argsort(random_words(window, *name, start=count - window))
        held = held[last][left - (count - window) :]
    return np.sort(held), read


def _slots(words: NDArray[np.uint64], window: int) -> NDArray[np.int64]:
    """Returns the slot of the window that each random word stands for."""
    return (words % np.uint64(max(window, 1))).astype(np.int64)
