"""The plan against the plain way of laying everything out, against recorded runs, and at 1e8 samples."""

import pickle
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.data.labels.targets import read_records
from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.data.loading.epoch_plan import EpochPlan
from maedfer.data.loading.window import held_after, leaving_order
from maedfer.data.shards.format import ShardEntry, read_index
from maedfer.data.shards.remote import Fetcher
from maedfer.data.shards.table import ShardTable
from maedfer.randomness import random_words

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def plain():
    """The plain way, which the scaling bench compares with too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        from benchmarks import plain_plan
    return plain_plan


def table_of(counts):
    return ShardTable.of(
        [ShardEntry(f"train-{number:06d}.tar", count, 10, "ab" * 32) for number, count in enumerate(counts)]
    )


FEW, SOME = st.integers(1, 4), st.integers(0, 4)
LEGS = st.builds(Leg, world=FEW, workers=SOME, batch=FEW, window=st.integers(0, 12))


@settings(max_examples=300, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda counts: sum(counts) >= 16),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 3),
    carried=st.integers(0, 15),
    legs=st.lists(st.tuples(LEGS, st.floats(0, 1)), max_size=4),
    last=LEGS,
    share=st.floats(0, 1),
    left_out=st.one_of(st.just(set()), st.sets(st.integers(0, 479), max_size=100)),
)
def test_batches_are_those_of_the_plain_way(plain, counts, seed, epoch, carried, legs, last, share, left_out):
    """Any shards, choices, carried visits and legs, also in the middle of a leg and in the epoch behind."""
    chosen = np.array([number for number in range(sum(counts)) if number not in left_out], np.int64)
    chosen = chosen if left_out and len(chosen) >= 16 else None
    plan = EpochPlan(table_of(counts), seed, chosen)
    cursor = Cursor(epoch, tuple(range(0, carried * epoch, max(epoch, 1))))
    for leg, part in [*legs, (last, share)]:
        cursor = plan.enter(cursor, leg)
        *before, current = cursor.legs
        done = current.done + int(part * (plan.batches(cursor) - cursor.done))
        cursor = replace(cursor, legs=(*before, replace(current, done=done)))
    order = plain.plain_order(counts, seed, cursor, chosen)
    assert plan.order(cursor).visits(0, len(plan.order(cursor))).tolist() == order.tolist()
    for rank in range(last.world):
        left = plain.plain_batches(counts, seed, cursor, rank, chosen)
        assert sorted(left) == list(range(cursor.done, plan.batches(cursor)))
        found, sequence = {}, []
        for worker in range(last.readers):
            reading = plan.reading(cursor, rank, worker)
            assert reading.numbers[:1].tolist() in ([], [cursor.done + worker])
            found |= dict(zip(reading.numbers.tolist(), reading.batches.tolist(), strict=True))
            sequence.append(reading.sequence)
            assert sorted(reading.sequence.tolist()) == sorted(reading.batches.ravel().tolist())
            assert (np.diff([order.tolist().index(visit) for visit in reading.sequence]) > 0).all()
        assert found == left
    step = last.world * last.batch
    assert plan.next_epoch(cursor).carried == tuple(order[len(order) // step * step :].tolist())


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any),
    left_out=st.sets(st.integers(0, 71), max_size=20),
    count=st.integers(1, 40),
    shards=st.integers(1, 5),
)
def test_spread_samples_are_the_heads_of_the_first_shards(plain, counts, left_out, count, shards):
    chosen = np.array([number for number in range(sum(counts)) if number not in left_out], np.int64)
    chosen = chosen if len(chosen) else None
    order = plain.plain_order(counts, 3, Cursor(), chosen).tolist()
    places = [(shard, place) for shard, samples in enumerate(counts) for place in range(samples)]
    first = list(dict.fromkeys(places[sample][0] for sample in order))[:shards]
    heads = [sample for sample in order if places[sample][0] in first]
    heads = sorted(heads, key=lambda sample: (places[sample][1], order.index(sample)))[:count]
    spread = EpochPlan(table_of(counts), 3, chosen).spread(count, shards)
    assert spread.tolist() == sorted(heads, key=order.index)


@settings(max_examples=200, deadline=None)
@given(count=st.integers(0, 3000), window=st.integers(0, 80), share=st.floats(0, 1), name=st.integers())
def test_a_window_holds_what_has_not_left_it(plain, count, window, share, name):
    leaving = leaving_order(count, window, (name,))
    assert leaving.tolist() == plain.plain_shuffle(list(range(count)), window, (name,))
    left = int(share * count)
    held, read = held_after(left, count, window, (name,))
    assert [*held.tolist(), *range(read, count)] == sorted(leaving[left:].tolist())
    assert len(held) <= max(window, 1)


@given(start=st.integers(0, 500), count=st.integers(0, 50), seed=st.integers(0, 9))
def test_words_from_the_middle_are_those_of_the_whole(start, count, seed):
    whole = random_words(start + count, seed, "words")
    assert random_words(count, seed, "words", start=start).tolist() == whole[start:].tolist()


@pytest.mark.parametrize(
    ("run", "state"),
    [
        ("pretrained", {"epoch": 0, "carried": [], "legs": [[1, 1, 4, 256, 6]]}),
        ("finetuned", {"epoch": 1, "carried": [], "legs": [[1, 0, 6, 256, 2]]}),
        ("zero2", {"epoch": 1, "carried": [], "legs": [[2, 1, 4, 256, 1]]}),
    ],
)
def test_runs_of_before_had_the_batches_of_this_plan(run, state):
    """Clips and checkpoint of runs at commit ba43b06, which laid the whole order out."""
    old = ROOT / "tests" / "artefacts" / "ba43b06"
    table = ShardTable.of(read_index(old / "shards").of_split("train"))
    keys = [record.key for record in read_records(str(old / "shards"), table, Fetcher())]
    plan, saved = EpochPlan(table, 0), Cursor.from_state_dict(state)
    cursor = plan.enter(Cursor(), replace(saved.legs[-1], done=0))
    recorded = [(old / run / "keys" / f"rank{rank}.txt").read_text() for rank in range(saved.legs[-1].world)]
    for step in range(1, 7 if len(recorded) == 1 else 5):
        if cursor.done == plan.batches(cursor):
            cursor = plan.next_epoch(cursor)
        for rank, lines in enumerate(recorded):
            batch = plan.reading(cursor, rank, 0).batches[0]
            clips = [line.split()[1] for line in lines.splitlines() if line.startswith(f"{step} ")]
            assert [keys[visit % table.samples] for visit in batch.tolist()] == clips
        cursor = plan.advance(cursor)
    assert cursor == saved


@pytest.fixture(scope="module")
def large():
    """1e8 samples in 422,000 shards, as a worker of 64 x 12 gets them."""
    counts = np.full(422_000, 236)
    counts[: 10**8 - counts.sum()] += 1
    names = np.full(422_000, b"train-000000.tar")
    checksums = np.zeros(422_000, "V32")
    return pickle.dumps(EpochPlan(ShardTable("print", 10**8, counts, names, counts, checksums), 7))


@pytest.mark.parametrize(
    ("trained", "seconds"),
    [
        ((), 2),
        ((Leg(64, 12, 32, 256, 29_000),), 10),
        ((Leg(64, 12, 32, 256, 9000), Leg(2, 3, 8, 999, 10**6)), 10),
    ],
    ids=["fresh", "resumed", "resumed twice"],
)
def test_a_worker_pays_for_its_share(large, trained, seconds):
    """The bounds of one worker of 64 x 12, its copy of the shards' table included."""
    tracemalloc.start()
    began = time.process_time()
    plan = pickle.loads(large)
    cursor = Cursor(3, tuple(range(1000)), trained)
    cursor = plan.enter(cursor, Leg(48 if trained else 64, 12, 32, 256))
    reading = plan.reading(cursor, 17, 5)
    spent, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    left = 10**8 + 1000 - sum(leg.done * leg.step for leg in trained)
    assert abs(reading.batches.size - left / (cursor.legs[-1].world * 12)) <= 64
    assert (plan.batches(cursor) - cursor.done) == left // cursor.legs[-1].step
    assert spent < seconds and peak < 150 * 2**20
