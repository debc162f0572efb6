"""Fine-tuning cut short anywhere goes on as if nothing had happened, and never over another run."""

import json
import shutil

import pytest
import torch
from helpers.finetuning_runs import arguments, table
from safetensors.torch import load_file

import maedfer
from maedfer.__main__ import main
from maedfer.runs.folder import RunFolder
from maedfer.training.finetuning.scoring import Scoring
from maedfer.training.run.checkpoints import BestCheckpoint
from maedfer.training.run.records import MetricsFile

pytestmark = pytest.mark.long


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


def test_a_checkpoint_due_where_nothing_is_validated_is_written(kill, labelled_shards, tmp_path):
    run, length = tmp_path / "run", 42 // 6
    command = [*arguments(labelled_shards, run, "--data.val_share", "0"), "--checkpoint_every", str(length)]
    kill(command, MetricsFile, "on_train_batch_end", length + 1)
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == length


def test_a_probe_of_a_fine_tuned_model_resumes(kill, from_scratch, labelled_shards, tmp_path):
    run = tmp_path / "run"
    probe = ("--init-from", str(from_scratch), "--freeze-encoder", "--model.architecture", "null")
    command = arguments(labelled_shards, run, *probe, "--model.model_args", "null", steps=8)
    kill(command, MetricsFile, "on_train_batch_end", 7)
    assert main(["consolidate", str(run)]) == 0
    assert main(["finetune", "--run", str(run), "--resume"]) == 0
    maedfer.load_classifier(run)


def test_a_moved_run_knows_its_best_value(from_scratch, tmp_path):
    state = torch.load(from_scratch / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    state = next(value for name, value in state.items() if name.startswith("BestCheckpoint"))
    moved = BestCheckpoint(RunFolder(tmp_path / "moved"), "val/uar", "max")
    moved.load_state_dict(state)
    path = str(tmp_path / "moved" / "checkpoints" / "best.ckpt")
    assert moved.best_model_path == moved.kth_best_model_path == path
    assert moved.best_k_models == {path: state["best_model_score"]}
    assert moved.best_model_score == state["best_model_score"] > 0


def test_a_finished_run_whose_checkpoints_were_deleted_stays_finished(from_scratch, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(from_scratch, run)
    shutil.rmtree(run / "checkpoints")
    assert main(["finetune", "--run", str(run), "--resume"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    assert (run / "metrics.csv").read_bytes() == (from_scratch / "metrics.csv").read_bytes()
