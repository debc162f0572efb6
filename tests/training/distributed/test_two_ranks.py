"""Two real CPU processes under DDP: no clip twice, none missing, also when the number of ranks changes."""

from collections import Counter

import pytest
from helpers.pretraining_runs import arguments, keys, rows
from helpers.two_ranks import on_two, run_together

import maedfer
from maedfer.__main__ import main
from maedfer.data.shards.format import read_index

pytestmark = pytest.mark.long


def seen(run, ranks):
    """Step and key of every clip trained on."""
    lines = [line.split(" ") for rank in range(ranks) for line in keys(run, rank)]
    return [(int(step), key) for step, key, _ in lines]


def test_ranks_share_the_epoch(synthetic_shards, tmp_path):
    run, changed = tmp_path / "run", tmp_path / "changed"
    # One rank for three steps of four clips, two ranks for two, one rank for four: 44 clips, two epochs.
    assert main(arguments(synthetic_shards, changed, steps=3)) == 0
    more = ["pretrain", "--run", str(changed), "--resume", "--trainer.max_steps"]
    two = [*more, "5", *on_two("ddp")]
    run_together([arguments(synthetic_shards, run, *on_two("ddp"), steps=5), two], tmp_path / "logs")
    one = ("--trainer.devices", "1", "--trainer.strategy", "auto")
    assert main([*more, "9", *one]) == 0

    samples = sum(entry.samples for entry in read_index(synthetic_shards).of_split("train"))
    assert samples == 22
    counts = Counter(key for _, key in seen(changed, 2))
    assert len(counts) == samples and set(counts.values()) == {2}
    assert [int(row["step"]) for row in rows(changed)] == list(range(1, 10))
    assert {step for step, _ in seen(changed, 2)} == set(range(1, 10))

    steps_of_an_epoch = samples // 8
    first = [key for step, key in seen(run, 2) if step <= steps_of_an_epoch]
    assert len(set(first)) == len(first) == steps_of_an_epoch * 8
    # What the first epoch left over comes in the second, in which every sample comes again.
    assert len({key for _, key in seen(run, 2)}) == samples
    assert [int(row["step"]) for row in rows(run)] == [1, 2, 3, 4, 5]
    assert maedfer.load_encoder(run).embed_dim == 24
