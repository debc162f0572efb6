"""Tests that runs, checkpoints and shards made at commit ba43b06, before the rooms, still load and resume."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers.two_ranks import run_together
from safetensors.torch import load_file

import maedfer
from maedfer.__main__ import main

pytestmark = pytest.mark.long

ARTEFACTS = Path(__file__).parents[1] / "artefacts" / "ba43b06"
FORMER_STRATEGY = {"class_path": "maedfer.training.zero_strategy.ZeroStrategy", "init_args": {"stage": 2}}


@pytest.fixture
def old(tmp_path, monkeypatch):
    """Changes into a copy of the artefacts: their `config.yaml` names the shards by a relative path."""
    folder = tmp_path / "old"
    shutil.copytree(ARTEFACTS, folder)
    monkeypatch.chdir(folder)
    return folder


def assert_rows_are_those_of_before(run, expected):
    ours, theirs = (list(csv.DictReader(path.open())) for path in (run / "metrics.csv", expected))
    assert [(row["step"], row["lr"]) for row in ours] == [(row["step"], row["lr"]) for row in theirs]
    for row, wanted in zip(ours, theirs, strict=True):
        # Bit for bit on the machine that made them; another CPU may add in another order.
        losses, before = (
            [float(value) for name, value in r.items() if "loss" in name] for r in (row, wanted)
        )
        assert losses == pytest.approx(before, rel=1e-5)


def same_weights(folder, expected):
    weights, before = (load_file(f / "model.safetensors") for f in (folder, expected))
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[name], value) for name, value in before.items())


def test_models_load(old):
    assert maedfer.load_encoder(old / "pretrained").embed_dim == 24
    assert maedfer.load_encoder(old / "zero2" / "encoder").embed_dim == 24
    assert maedfer.load_classifier(old / "finetuned").num_classes == 7


def test_a_run_resumes_and_its_checkpoint_is_consolidated(old):
    shutil.rmtree(old / "pretrained" / "encoder")
    assert main(["consolidate", "pretrained"]) == 0
    same_weights(old / "pretrained" / "encoder", ARTEFACTS / "pretrained" / "encoder")
    assert main(["pretrain", "--run", "pretrained", "--resume", "--trainer.max_steps", "10"]) == 0
    assert_rows_are_those_of_before(old / "pretrained", old / "pretrained_resumed_to_10.csv")


def test_a_deepspeed_run_resumes_and_its_checkpoint_is_consolidated(old):
    run = old / "zero2"
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["trainer"]["strategy"] = FORMER_STRATEGY
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.rmtree(run / "encoder")
    assert main(["consolidate", "zero2"]) == 0
    same_weights(run / "encoder", ARTEFACTS / "zero2" / "encoder")
    run_together([["pretrain", "--run", "zero2", "--resume", "--trainer.max_steps", "6"]], old / "logs")
    assert_rows_are_those_of_before(run, old / "zero2_resumed_to_6.csv")


def test_a_classifier_predicts_the_same(old):
    words = ("--model", "finetuned", "--shards", "shards", "--out", "out")
    assert main(["evaluate", *words]) == 0
    ours, theirs = (list(csv.DictReader((old / f / "predictions.csv").open())) for f in ("out", "finetuned"))
    assert [(row["key"], row["predicted"]) for row in ours] == [
        (row["key"], row["predicted"]) for row in theirs
    ]
    for row, wanted in zip(ours, theirs, strict=True):
        shares = [[float(value) for name, value in r.items() if name[:2] == "p_"] for r in (row, wanted)]
        assert shares[0] == pytest.approx(shares[1], abs=1e-6)


def test_a_finished_fine_tuning_has_nothing_to_resume(old, capsys):
    assert main(["finetune", "--run", "finetuned", "--resume"]) == 0
    assert "6 steps" in capsys.readouterr().out
    assert main(["finetune", "--run", "finetuned", "--resume", "--trainer.max_steps", "7"]) == 0
    assert json.loads((old / "finetuned" / "summary.json").read_text())["steps"] == 7
