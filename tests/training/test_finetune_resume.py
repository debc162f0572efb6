"""Fine-tuning cut short anywhere goes on as if nothing had happened, and never over another run."""

import json

import pytest
from finetuning_runs import arguments, table
from safetensors.torch import load_file

from maedfer.__main__ import main
from maedfer.training.run_records import MetricsFile
from maedfer.training.scoring import Scoring


def assert_same_runs(run, whole):
    for name in ("metrics.csv", "validation.csv", "predictions.csv", "keys/rank0.txt", "summary.json"):
        assert (run / name).read_text() == (whole / name).read_text(), name
    weights, others = (load_file(folder / "classifier" / "model.safetensors") for folder in (run, whole))
    assert all(weights[name].equal(others[name]) for name in others)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    ("owner", "hook", "after"),
    [
        (MetricsFile, "on_train_batch_end", 3),
        (Scoring, "on_validation_epoch_start", 0),
        (MetricsFile, "on_train_batch_end", 1),
        (Scoring, "on_test_epoch_start", None),
    ],
    ids=["within an epoch", "in a validation", "behind a validation", "in the test"],
)
def test_a_killed_run_resumes_exactly(
    owner, hook, after, every, kill, from_scratch, labelled_shards, tmp_path
):
    run, first = tmp_path / "run", int(table(from_scratch / "validation.csv")[0]["step"])
    step = 14 if after is None else first + after
    kill([*arguments(labelled_shards, run), "--checkpoint_every", str(every)], owner, hook, step)
    assert not (run / "summary.json").exists()
    assert main(["finetune", "--run", str(run), "--resume"]) == 0
    assert_same_runs(run, from_scratch)


def test_a_moving_average_resumes_exactly(kill, labelled_shards, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    average = ("--ema-decay", "0.8", "--data.test_split", "none")
    assert main(arguments(labelled_shards, whole, *average, steps=8)) == 0
    kill(arguments(labelled_shards, run, *average, steps=8), MetricsFile, "on_train_batch_end", 7)
    assert main(["finetune", "--run", str(run), "--resume"]) == 0
    assert_same_runs(run, whole)


def test_resuming_a_finished_run_does_nothing(from_scratch, capsys):
    before = {path: path.stat().st_mtime_ns for path in from_scratch.rglob("*")}
    assert main(["finetune", "--run", str(from_scratch), "--resume"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in from_scratch.rglob("*")} == before


def test_an_existing_run_is_not_overwritten(from_scratch, labelled_shards, capsys):
    before = json.loads((from_scratch / "summary.json").read_text())
    assert main(arguments(labelled_shards, from_scratch)) == 2
    assert "--resume" in capsys.readouterr().err
    assert json.loads((from_scratch / "summary.json").read_text()) == before
