"""The schedule against upstream's own tables, and against its formula written out."""

import json
import math

import pytest
from helpers.finetuning_runs import arguments, table

from maedfer.__main__ import main
from maedfer.training.steps.schedule import WarmupCosine, scaled_by_batch

pytestmark = pytest.mark.long

TABLES = (
    "sched_pretrain_released_bs160",
    "sched_pretrain_script_bs64",
    "sched_finetune_dfew",
    "sched_finetune_ferv39k",
)


@pytest.mark.real
@pytest.mark.parametrize("name", TABLES)
def test_agrees_with_upstream(shared, name):
    table = json.loads((shared / "oracle" / "utils_oracle.json").read_text())[name]
    schedule = WarmupCosine(
        table["base"], table["final"], table["n"], table["warmup_epochs"] * table["niter"]
    )
    for step, rate in table["samples"].items():
        assert schedule(int(step)) == pytest.approx(rate, rel=1e-12)
    # Every epoch's mean where runs are short; of the long ones, the first and last of warm-up and cosine.
    long = table["n"] > 100_000
    for epoch in (0, 4, 5, 99) if long else range(table["epochs"]):
        steps = range(epoch * table["niter"], (epoch + 1) * table["niter"])
        mean = math.fsum(map(schedule, steps)) / table["niter"]
        assert mean == pytest.approx(table["epoch_means"][epoch], rel=1e-12)


def test_every_step_of_a_short_run():
    peak, final, total, warmup = 1.0, 0.1, 10, 4
    schedule = WarmupCosine(peak, final, total, warmup)
    expected = [0, 1 / 3, 2 / 3, 1] + [
        final + (peak - final) / 2 * (1 + math.cos(math.pi * i / 6)) for i in range(6)
    ]
    assert [schedule(i) for i in range(total)] == pytest.approx(expected)
    assert schedule(10_000) == pytest.approx(final)


def test_rates_are_stated_for_a_batch_of_256():
    assert scaled_by_batch(3e-4, 160) == pytest.approx(1.875e-4)


@pytest.mark.parametrize(("limit", "steps"), [("1.0", 12), ("4", 6)])
def test_rates_fall_to_the_end_of_the_last_epoch(limit, steps, labelled_shards, tmp_path):
    """An epoch is 7 batches, of which the last makes a step by itself where steps are made of two."""
    run = tmp_path / "run"
    epochs = ("--trainer.max_steps", "-1", "--trainer.max_epochs", "3", "--model.warmup_share", "0")
    accumulated = ("--trainer.accumulate_grad_batches", "2", "--trainer.limit_train_batches", limit)
    assert main(arguments(labelled_shards, run, "--data.val_share", "0", *epochs, *accumulated)) == 0
    rates = [float(row["lr"]) for row in table(run / "metrics.csv")]
    assert len(rates) == steps and rates == sorted(rates, reverse=True) and len(set(rates)) == steps
    assert rates[-1] < 0.1 * rates[0]
