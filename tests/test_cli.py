"""The command line as a user meets it: help at once, wrong words in one line with a remedy, exit code 2."""

import subprocess
import sys
import time

import pytest

from maedfer.__main__ import VERBS, main
from maedfer.cli import FUNCTIONS, TRAINING
from maedfer.parsing import with_values
from maedfer.resources import find_config


def test_help_names_every_verb_within_a_second():
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "maedfer", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert time.monotonic() - began < 1.0
    assert all(verb in done.stdout for verb in VERBS)


def test_every_verb_is_wired():
    assert set(VERBS) == set(FUNCTIONS) | set(TRAINING)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert f"maedfer {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["pak"], "did you mean `pack`"),
        (["pack", "x", "--out", "y", "--detecter", "haar"], "--detector"),
        (["pack", "x", "--out", "y", "--detector", "harr"], "haar"),
        (["pretrain", "--config", "pretrain/dmo"], "pretrain/demo"),
        (["pretrain", "--config", "pretrain/demo", "--data.shard", "x"], "--data.shards"),
        (["pretrain", "--config", "pretrain/demo", "--trainer.max_step", "3"], "--trainer.max_steps"),
        (["verify", "nowhere"], "nowhere"),
    ],
)
def test_wrong_words_exit_2_with_one_line(args, words, capsys):
    assert main(args) == 2
    shown = capsys.readouterr().err.strip()
    assert words in shown
    assert "\n" not in shown


def test_flags_are_never_abbreviated(capsys):
    assert main(["pack", "x", "--out", "y", "--detect", "none"]) == 2
    assert "--detector" in capsys.readouterr().err


def test_boolean_flags_stand_alone_or_with_a_value():
    given = ["--resume", "--init-from", "x", "--resume", "False", "--resume=true", "--resume", "--run", "a=b"]
    spelt = [
        "--resume=true",
        "--init_from",
        "x",
        "--resume=false",
        "--resume=true",
        "--resume=true",
        "--run",
        "a=b",
    ]
    assert with_values(given, ["resume"]) == spelt


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mask_ratio", "mask_ration"),
        ("batch_size", "batchsize"),
        ("max_steps", "max_stepps"),
        ("checkpoint_every", "checkpoint_evry"),
    ],
)
def test_a_recipe_with_a_wrong_key_names_the_nearest(right, wrong, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(find_config("pretrain/demo").read_text().replace(right, wrong))
    assert main(["pretrain", "--config", str(recipe), "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err.strip()
    assert right in shown.split("did you mean")[1] and "\n" not in shown
    assert not (tmp_path / "run").exists()
