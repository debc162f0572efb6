"""The cost of one loader worker's plan over the size of the set, beside laying the whole order out."""

from __future__ import annotations

import pickle
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.plain_plan import Batches, plain_batches
from benchmarks.result import Result, Row
from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.data.loading.epoch_plan import EpochPlan
from maedfer.data.shards.table import ShardTable

LEG = Leg(world=64, workers=12, batch=32, window=256)
"""How the sets are dealt; a resumed run had these ranks for 60% of an epoch, and has 48 for the rest."""

SHARD = 237
"""Samples of a shard."""

PLAIN_UP_TO = 1_000_000
"""Samples of the largest set that the plain way is measured on: its cost grows with the set."""

COLUMNS = {
    **{"samples": ",d", "shards": ",d", "s": ".3f", "MiB": ".1f", "resumed s": ".3f", "resumed MiB": ".1f"},
    **{"plain s": ".3f", "plain MiB": ".1f", "plain resumed s": ".3f", "plain resumed MiB": ".1f"},
}


def publish_plan_costs(out: Path, samples: Sequence[int]) -> None:
    """Measures the plan of one worker for sets of some sizes, and writes `plan_cost.json`.

    Memory is the peak of what the plan allocates, the worker's copy of the table of shards included.
    """
    settings = {"ranks": LEG.world, "workers": LEG.workers, "batch": LEG.batch, "window": LEG.window}
    title = f"The plan of a loader worker of {LEG.world} ranks x {LEG.workers}, fresh and resumed on 48 ranks"
    Result("plan_cost", title, settings, [_row(size) for size in samples]).publish(out, COLUMNS)


def _row(samples: int) -> Row:
    """Returns the costs of both ways at one size.

    Raises:
        RuntimeError: they deal different batches.
    """
    table = _table(samples)
    sent, counts = pickle.dumps(EpochPlan(table, seed=0)), table.counts.tolist()
    fresh = Cursor(legs=(LEG,))
    trained = replace(LEG, done=samples * 6 // 10 // LEG.step)
    resumed = Cursor(legs=(trained, replace(LEG, world=48)))
    row: Row = {"samples": samples, "shards": len(table)}
    for name, cursor in (("", fresh), ("resumed ", resumed)):
        batches = _measure(row, name, lambda cursor=cursor: _planned(sent, cursor))
        if samples <= PLAIN_UP_TO:
            plain = _measure(row, f"plain {name}", lambda cursor=cursor: plain_batches(counts, 0, cursor, 0))
            if any(plain[number] != batch for number, batch in batches.items()):
                raise RuntimeError(f"the plan and the plain way deal {samples} samples differently")
    return row


def _planned(sent: bytes, cursor: Cursor) -> Batches:
    """Returns the batches of the first worker, which got the plan from its parent."""
    reading = pickle.loads(sent).reading(cursor, rank=0, worker=0)
    return dict(zip(reading.numbers.tolist(), reading.batches.tolist(), strict=True))


def _measure(row: Row, name: str, way: Callable[[], Batches]) -> Batches:
    """Writes seconds and peak MiB of a way into the row, from a run each, and returns its batches."""
    began = time.perf_counter()
    batches = way()
    row[f"{name}s"] = time.perf_counter() - began
    tracemalloc.start()
    way()
    row[f"{name}MiB"] = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return batches


def _table(samples: int) -> ShardTable:
    """Returns a table of shards of nearly equal size; its names and checksums are as long as real ones."""
    counts = np.full(-(-samples // SHARD), SHARD)
    counts[-1] -= counts.sum() - samples
    names = np.array([f"train-{number:06d}.tar" for number in range(len(counts))], np.bytes_)
    return ShardTable("", samples, counts, names, counts, np.zeros(len(counts), "V32"))
