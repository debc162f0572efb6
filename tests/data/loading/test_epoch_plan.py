"""The plan: every visit once, ranks disjoint and even, exact resume, new dealing when the world changes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.data.loading.cursor import Cursor, Leg
from maedfer.data.loading.epoch_plan import EpochPlan, evaluation_reading
from maedfer.data.loading.window import leaving_order
from maedfer.data.shards.format import ShardEntry
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError


def table_of(counts):
    names = (f"train-{number:06d}.tar" for number in range(len(counts)))
    return ShardTable.of(
        [ShardEntry(name, count, 10, "ab" * 32) for name, count in zip(names, counts, strict=True)]
    )


def loader_batches(plan, cursor, rank):
    """Batches of a rank in the order a torch DataLoader asks its workers for them, with their numbers."""
    readings = [plan.reading(cursor, rank, worker) for worker in range(cursor.legs[-1].readers)]
    total, batches = sum(len(reading.numbers) for reading in readings), []
    for place in range(total):
        reading = readings[place % len(readings)]
        row = place // len(readings)
        batches.append((int(reading.numbers[row]), reading.batches[row].tolist()))
    return batches


def train(plan, cursor, steps):
    """Follow the plan for some batches: the cursor and, for each batch, what every rank saw."""
    seen = []
    while len(seen) < steps:
        if cursor.done == plan.batches(cursor):
            cursor = plan.next_epoch(cursor)
            continue
        ranks = [loader_batches(plan, cursor, rank) for rank in range(cursor.legs[-1].world)]
        assert len({len(batches) for batches in ranks}) == 1
        for batch in list(zip(*ranks, strict=True))[: steps - len(seen)]:
            assert {number for number, _ in batch} == {cursor.done}
            seen.append([visits for _, visits in batch])
            cursor = plan.advance(cursor)
    return cursor, seen


LEGS = st.builds(
    Leg, world=st.integers(1, 4), workers=st.integers(0, 3), batch=st.integers(1, 3), window=st.integers(1, 9)
)
COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda counts: sum(counts) >= 12)


@settings(max_examples=150, deadline=None)
@given(
    counts=COUNTS,
    seed=st.integers(0, 9),
    legs=st.lists(st.tuples(LEGS, st.integers(0, 9)), max_size=5),
    last=LEGS,
    left_out=st.sets(st.integers(0, 53), max_size=20),
)
def test_every_visit_once_whatever_the_changes(counts, seed, legs, last, left_out):
    numbers = np.array([number for number in range(sum(counts)) if number not in left_out])
    chosen = numbers if len(numbers) >= 12 else None
    plan, cursor, seen = EpochPlan(table_of(counts), seed, chosen), Cursor(), []
    for leg, steps in [*legs, (last, 0)]:
        cursor = plan.enter(cursor, leg)
        cursor, batches = train(plan, cursor, steps)
        cursor = Cursor.from_state_dict(json.loads(json.dumps(cursor.state_dict())))
        seen += [visit for batch in batches for rank in batch for visit in rank]
    end = plan.batches(cursor) - cursor.done
    cursor, batches = train(plan, cursor, end)
    seen += [visit for batch in batches for rank in batch for visit in rank]
    following = plan.next_epoch(cursor)
    assert len(following.carried) < last.world * last.batch
    every = np.arange(sum(counts)) if chosen is None else chosen
    visits = np.add.outer(np.arange(cursor.epoch + 1) * sum(counts), every)
    assert plan.samples == len(every)
    assert sorted([*seen, *following.carried]) == visits.ravel().tolist()


@settings(max_examples=80, deadline=None)
@given(counts=COUNTS, leg=LEGS, stops=st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_stopping_changes_nothing(counts, leg, stops):
    plan = EpochPlan(table_of(counts), 3)
    start = plan.enter(Cursor(), leg)
    _, straight = train(plan, start, sum(stops))
    cursor, pieces = start, []
    for steps in stops:
        cursor, batches = train(plan, plan.enter(cursor, leg), steps)
        pieces += batches
    assert pieces == straight


def test_ranks_deal_as_the_workers_of_one_rank_do():
    plan = EpochPlan(table_of([9, 7, 8]), 5)
    dealt = []
    for world, workers in ((1, 4), (2, 2), (4, 1)):
        cursor = plan.enter(Cursor(), Leg(world, workers, batch=2, window=4))
        _, steps = train(plan, cursor, 12 // world)
        batches = [[steps[number][rank] for number in range(12 // world)] for rank in range(world)]
        # What a range is read for, in its order: the reader of a rank takes every so many of its batches.
        dealt.append([batches[rank][reader::workers] for rank in range(world) for reader in range(workers)])
    assert dealt[0] == dealt[1] == dealt[2]


def test_the_carry_follows_the_epochs():
    plan, leg = EpochPlan(table_of([4, 3, 3]), 0), Leg(world=2, workers=2, batch=2, window=3)
    cursor, lengths = plan.enter(Cursor(), leg), []
    for _ in range(4):
        lengths.append(plan.batches(cursor))
        cursor = plan.next_epoch(cursor)
    assert lengths == [2, 3, 2, 3]  # 10 samples, 4 a step: 2 are left over every other epoch
    assert cursor.carried == ()


def test_readers_read_in_sequence_and_hold_one_window():
    plan = EpochPlan(table_of([50] * 8), 1)
    cursor = plan.enter(Cursor(), Leg(world=2, workers=2, batch=5, window=16))
    readings = [plan.reading(cursor, rank, worker) for rank in range(2) for worker in range(2)]
    sequences = np.concatenate([reading.sequence for reading in readings])
    shards = sequences // 50
    assert len(sequences) == 400 and (np.diff(sequences)[np.diff(shards) == 0] == 1).all()
    assert (np.diff(shards) != 0).sum() == 7
    for reading in readings:
        place = {visit: number for number, visit in enumerate(reading.sequence.tolist())}
        ahead = [place[visit] - turn for turn, visit in enumerate(reading.batches.ravel().tolist())]
        assert max(ahead) <= 16 and not (reading.batches.ravel() == reading.sequence).all()


def test_epochs_and_seeds_differ_and_repeat():
    table, leg = table_of([9] * 9), Leg(1, 1, 4, 8)

    def first(seed, epoch):
        plan = EpochPlan(table, seed)
        cursor = plan.enter(Cursor(epoch), leg)
        return (plan.reading(cursor, 0, 0).batches % 81).tolist()

    assert first(0, 0) == first(0, 0)
    assert first(0, 0) != first(1, 0) and first(0, 0) != first(0, 1)


def test_a_window_of_one_keeps_the_order():
    assert leaving_order(7, 1, ("a",)).tolist() == list(range(7))
    assert leaving_order(0, 4, ("a",)).tolist() == []


def test_too_few_samples_are_refused_by_number():
    plan = EpochPlan(table_of([3, 4]), 0)
    with pytest.raises(UserError, match=r"^batch_size: 7 .*2 ranks x 4 .*= 8.*`clips_per_sample`"):
        plan.enter(Cursor(), Leg(2, 0, 4, 1))


def test_a_choice_is_what_an_epoch_has():
    table = table_of([3, 0, 4, 5])
    plan = EpochPlan(table, 0, np.array([1, 2, 5, 11]))
    visits = plan.order(Cursor(2)).visits(0, 4)
    assert sorted(visits.tolist()) == [1 + 24, 2 + 24, 5 + 24, 11 + 24] and plan.samples == 4
    assert sorted(plan.spread(9).tolist()) == [1, 2, 5, 11]
    assert EpochPlan(table, 0, np.arange(12)).choice is None is EpochPlan(table, 0).choice
    choices = {plan.choice, EpochPlan(table, 0, np.array([1, 2, 5, 10])).choice, None}
    assert len(choices) == 3 and EpochPlan(table, 1, np.array([1, 2, 5, 11])).choice == plan.choice
    with pytest.raises(UserError, match=r"^batch_size: 4 .*= 5"):
        plan.enter(Cursor(), Leg(1, 0, 5, 1))


@given(numbers=st.sets(st.integers(0, 40), min_size=1), leg=LEGS)
def test_evaluation_counts_every_chosen_sample_once(numbers, leg):
    chosen, shares, lengths = np.array(sorted(numbers)), [], set()
    for rank in range(leg.world):
        readings = [evaluation_reading(chosen, 41, leg, rank, worker) for worker in range(leg.readers)]
        turns = sorted(turn for reading in readings for turn in reading.numbers.tolist())
        lengths.add(len(turns))
        assert turns == list(range(len(turns)))
        visits = np.concatenate([reading.batches.ravel() for reading in readings])
        assert len(set(visits.tolist())) == len(visits) and set((visits % 41).tolist()) <= numbers
        shares += visits[visits < 41].tolist()
    assert sorted(shares) == sorted(numbers) and len(lengths) == 1
