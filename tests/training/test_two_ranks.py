"""Two real CPU processes under DDP: no clip twice, none missing, one table, one encoder."""

import subprocess
import sys

from pretraining_runs import arguments, keys, rows

import maedfer
from maedfer.data.shards import read_index


def test_ranks_share_the_epoch(synthetic_shards, tmp_path):
    run = tmp_path / "run"
    ranks = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    command = [sys.executable, "-m", "maedfer", *arguments(synthetic_shards, run, *ranks, steps=5)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]

    seen = {rank: [line.split(" ") for line in keys(run, rank)] for rank in (0, 1)}
    samples = sum(entry.samples for entry in read_index(synthetic_shards).of_split("train"))
    steps_of_an_epoch = samples // 8
    first = {rank: [key for step, key, _ in seen[rank] if int(step) <= steps_of_an_epoch] for rank in seen}
    assert len(set(first[0]) | set(first[1])) == len(first[0]) + len(first[1]) == steps_of_an_epoch * 8
    # What the first epoch left over comes in the second, in which every sample comes again.
    both = [key for rank in seen for step, key, _ in seen[rank]]
    assert len(set(both)) == samples
    assert [int(row["step"]) for row in rows(run)] == [1, 2, 3, 4, 5]
    assert maedfer.load_encoder(run).embed_dim == 24
