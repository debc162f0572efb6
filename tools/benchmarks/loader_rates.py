"""The ways to load clips that the loader bench sets against each other, and the rows of its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

from torch.utils.data import DataLoader

from benchmarks.clip_rate import Batches, Rate, call_rate, loader_rate, middle, middle_ratio, rates_in_turn
from benchmarks.plain_loader import SIZE, PlainClips
from benchmarks.result import Row
from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.data.loading.views import prepare_clips
from maedfer.models.masking import MaskSpec

MASKS = MaskSpec(grid=(8, 10, 10), region_size=(2, 5, 10), ratio=0.9)
"""Those of published pre-training."""

ENCODINGS = ("jpeg", "h264")
CLIPS_PER_SAMPLE = (1, 2, 4)

ENDLESS = 10**9
"""Items of the plain way's data set, which takes its videos in turn."""


@dataclass(frozen=True)
class Way:
    """A way to load clips: the plain one, or shards of an encoding with so many clips drawn per sample."""

    source: str
    clips_per_sample: int = 1

    @property
    def title(self) -> str:
        """Its name in the table."""
        many = f", {self.clips_per_sample} clips per sample" if self.clips_per_sample > 1 else ""
        return f"{self.source}{many}"


PLAIN = Way("plain")
PREPARE = Way("crop and normalise")
"""What our training does on its device, done here on this CPU."""

OURS = tuple(Way(*pair) for pair in product(ENCODINGS, CLIPS_PER_SAMPLE))

Rates = dict[tuple[Way, int], list[Rate]]
"""Rates of each way with each number of workers, one per round."""


def loading_rates(
    videos: Sequence[Path],
    shards: Mapping[str, Path],
    workers: int,
    batch_size: int,
    seconds: float,
    rounds: int,
) -> Rates:
    """Measure all ways in turn, in one process and through workers.

    Args:
        videos: for the plain way.
        shards: of the same videos, by their encoding.
        workers: processes.
        batch_size: clips of a batch.
        seconds: of each measurement.
        rounds: measurements of each way.
    """
    starts: dict[Way, Callable[[int], Batches]] = {PLAIN: partial(plain_batches, videos, batch_size)}
    for way in OURS:
        starts[way] = partial(our_batches, shards[way.source], batch_size, way.clips_per_sample)
    ways: dict[tuple[Way, int], Callable[[], Rate]] = {
        (way, number): partial(_measure, start, number, seconds)
        for number in (0, workers)
        for way, start in starts.items()
    }
    ways[PREPARE, 0] = partial(call_rate, _prepare_call(shards[ENCODINGS[0]], batch_size), seconds)
    return rates_in_turn(ways, rounds)


def _measure(start: Callable[[int], Batches], workers: int, seconds: float) -> Rate:
    return loader_rate(start(workers), seconds, workers)


def plain_batches(videos: Sequence[Path], batch_size: int, workers: int) -> Batches:
    """Batches of the plain way."""
    yield from DataLoader(PlainClips(videos, ENDLESS, MASKS), batch_size=batch_size, num_workers=workers)


def our_batches(
    shards: Path,
    batch_size: int,
    clips_per_sample: int,
    workers: int,
    start_method: Literal["forkserver"] | None = None,
) -> Batches:
    """Batches as a training run gets them, of one epoch."""
    data = ClipDataModule(
        str(shards),
        batch_size=batch_size,
        clips_per_sample=clips_per_sample,
        workers=workers,
        start_method=start_method,
    )
    data.fit_to_model(16, MASKS)
    yield from data.train_dataloader()


def _prepare_call(shards: Path, batch_size: int) -> Callable[[], int]:
    """A call that crops and normalises one batch of our loader, and returns its clips."""
    batches = our_batches(shards, batch_size, 1, 0)
    batch: ClipBatch = next(batches)
    batches.close()

    def call() -> int:
        prepare_clips(batch.clips, batch.boxes, batch.flips, SIZE)
        return len(batch.clips)

    return call


def rate_rows(rates: Rates, differences: Mapping[str, Row]) -> list[Row]:
    """The table: rates and their ratios to the plain way with as many workers.

    `whole_per_core` is what a core would give that also crops and normalises, which the plain way has done
    and ours leaves to the device.

    Args:
        rates: what was measured.
        differences: of each encoding's clips from the plain way's.
    """
    return [_row(way, workers, rates, differences.get(way.source, {})) for way, workers in rates]


def _row(way: Way, workers: int, rates: Rates, difference: Row) -> Row:
    found, plain = rates[way, workers], rates[PLAIN, workers]
    core, plain_core = [rate.core for rate in found], [rate.core for rate in plain]
    row: Row = {"way": way.title, "workers": workers, "per_core": middle(core)}
    row["per_second"] = middle([rate.wall for rate in found])
    if way == PREPARE:
        return row
    row["core_ratio"] = middle_ratio(core, plain_core)
    row["second_ratio"] = middle_ratio([rate.wall for rate in found], [rate.wall for rate in plain])
    whole = core if way == PLAIN else _with_preparing(core, [rate.core for rate in rates[PREPARE, 0]])
    row |= {"whole_per_core": middle(whole), "whole_ratio": middle_ratio(whole, plain_core)}
    return row | difference


def _with_preparing(loading: Sequence[float | None], preparing: Sequence[float | None]) -> list[float | None]:
    """Clips per second of one core that loads and prepares, one after the other."""
    return [
        None if load is None or prepare is None else 1 / (1 / load + 1 / prepare)
        for load, prepare in zip(loading, preparing, strict=True)
    ]
