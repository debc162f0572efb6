"""Starts loader workers at the cursor for each pass of Lightning, and checks the batches they make.

Each pass gets a new torch DataLoader, because its workers begin at the cursor. `ClipLoader` is not a
DataLoader itself, so that Lightning neither replaces samplers nor reports that the stream cannot be resumed.
"""

import logging
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from maedfer.data.loading.batch import ClipBatch
from maedfer.errors import UserError
from maedfer.lightning_internals import batches_begun, set_epoch_length

BROKEN_FLOOR = 3
"""Number of broken samples that a pass tolerates whatever their share, so that a tiny set can have one."""

BROKEN_NAMED = 20
"""Broken samples of a pass that the log names."""

_log = logging.getLogger(__name__)


class BrokenWatch:
    """Counts and names the broken samples of a pass, and stops the run when there are too many.

    Args:
        max_share: Largest share of broken samples among those of the pass; with 0 the first one stops the
            run, with more the first three never do.
        expected: Samples of the whole pass, so that a few at its beginning do not look like many.
    """

    def __init__(self, max_share: float, expected: int) -> None:
        self._max_share, self._expected = max_share, expected
        self._seen = 0
        self._broken: list[tuple[str, str]] = []

    def check(self, batch: ClipBatch, samples: int) -> None:
        """Counts the broken samples of a batch.

        Raises:
            UserError: too many samples are broken; the message names some.
        """
        self._seen += samples
        for name, reason in batch.broken:
            self._broken.append((name, reason))
            if len(self._broken) <= BROKEN_NAMED:
                more = "; further ones are only counted" if len(self._broken) == BROKEN_NAMED else ""
                _log.warning("sample left out: %s: %s%s", name, reason, more)
        floor = BROKEN_FLOOR if self._max_share > 0 else 0
        if len(self._broken) > max(floor, self._max_share * max(self._seen, self._expected)):
            named = "; ".join(f"{name}: {reason}" for name, reason in self._broken[-3:])
            raise UserError(
                "max_broken_share",
                f"{len(self._broken)} of the first {self._seen} samples cannot be used, more than a share of "
                f"{self._max_share}: run `maedfer verify` on the shards ({named})",
            )


class ClipLoader:
    """Iterates over batches; each pass starts new workers.

    `waited_s` is the time spent waiting for batches over all passes, in seconds, including the start of
    workers.

    Args:
        length: Returns the number of batches of a whole epoch.
        start: Returns the loader of the next pass, and the number of its first batch.
        samples: Samples of a batch (several clips may come from one).
        batch_size: Clips of a batch.
        max_broken_share: See `BrokenWatch`.
    """

    def __init__(
        self,
        length: Callable[[], int],
        start: Callable[[], tuple[DataLoader[Any], int]],
        samples: int,
        batch_size: int,
        max_broken_share: float,
    ) -> None:
        self._length, self._start, self._samples = length, start, samples
        self._max_broken_share = max_broken_share
        self.waited_s = 0.0
        # DeepSpeed's strategy looks here for the batch size, and fails on a DataLoader without one.
        self.batch_sampler = SimpleNamespace(batch_size=batch_size)

    def __len__(self) -> int:
        """Returns the number of batches of a whole epoch, including those before the cursor."""
        return self._length()

    def __iter__(self) -> Iterator[ClipBatch]:
        """Yields the batches from the cursor on; nothing starts before the first one is requested.

        Raises:
            UserError: a worker failed, or too many samples are broken.
        """
        loader, number = self._start()
        watch = BrokenWatch(self._max_broken_share, len(self) * self._samples)
        for expected, batch in enumerate(self._clocked(loader), start=number):
            if isinstance(batch, UserError):
                raise batch
            if batch.batch != expected:
                raise RuntimeError(f"the loader gave batch {batch.batch} in place of batch {expected}")
            watch.check(batch, self._samples)
            yield batch

    def _clocked(self, loader: DataLoader[Any]) -> Iterator[ClipBatch | UserError]:
        """Yields the batches of a loader and adds up the time spent waiting for them."""
        began = time.perf_counter()
        for batch in loader:
            self.waited_s += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing, as the data module keeps the position; Lightning only checks that it exists."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing, see `state_dict`."""


def batches_per_epoch(trainer: pl.Trainer, length: int) -> int:
    """Returns how many batches a trainer takes of an epoch of that length."""
    limit = trainer.limit_train_batches
    if limit is None:
        return length
    return min(length, limit) if isinstance(limit, int) else int(length * limit)


def correct_epoch_length(trainer: pl.Trainer, left: int) -> None:
    """Corrects Lightning's length of the epoch, when the first batch of a pass is asked for.

    Epochs differ by a batch, because a remainder is carried into the next one. Lightning measures an epoch
    before it knows whether a resumed run continues it or starts the next, and would cut the longer one.

    Args:
        trainer: A trainer that is fitting.
        left: Batches from the cursor to the end of the plan's epoch.
    """
    set_epoch_length(trainer, batches_per_epoch(trainer, batches_begun(trainer) + left))
