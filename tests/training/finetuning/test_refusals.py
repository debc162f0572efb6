"""What `maedfer finetune` refuses: one line with the trouble and a remedy, exit code 2, no half a run."""

import json
import shutil

import pytest
from helpers.finetuning_runs import MODEL, arguments, rewritten

from maedfer.__main__ import main

pytestmark = pytest.mark.long


@pytest.fixture
def refusal(capsys):
    """The line that a refused command prints."""

    def run(command):
        capsys.readouterr()
        assert main([str(word) for word in command]) == 2
        message = capsys.readouterr().err.strip()
        assert "\n" not in message and message.startswith("maedfer finetune: "), message
        return message

    return run


def edited(edit):
    """Shards whose records are changed by a function of (record, number)."""
    return lambda shards, folder: rewritten(shards, folder / "edited", edit)


def some_without_label(record, number):
    return record | ({"label": None, "label_name": None} if number in (4, 9) else {})


def folds_with_all_fear_in_one(record, number):
    return record | {"fold": 1 if record["label_name"] == "fear" or number % 2 else 2}


def one_class_in_the_test_set(record, number):
    return record | ({"label": 0, "label_name": "happy"} if record["key"].startswith("test") else {})


def as_they_are(shards, folder):
    return shards


SIX = json.dumps(["happy", "sad", "neutral", "angry", "surprise", "disgust"])
EIGHT = json.dumps(["happy", "sad", "neutral", "angry", "surprise", "disgust", "fear", "contempt"])
LABELS = {
    "an unknown label": (
        as_they_are,
        ("--data.classes", SIX),
        ("unknown labels fear", "the classes are", "disgust"),
    ),
    "a class nobody shows": (
        as_they_are,
        ("--data.classes", EIGHT),
        ("no sample of contempt", "--data.classes"),
    ),
    "labels missing in part": (
        edited(some_without_label),
        (),
        ("2 of 42 samples of split train have no label", "--data.skip_unlabelled true"),
    ),
    "a class missing in a fold": (
        edited(folds_with_all_fear_in_one),
        ("--data.fold", "1", "--data.test_split", "none"),
        ("without fold 1 has no sample of fear", "another --data.fold"),
    ),
    "a fold that is not there": (
        edited(folds_with_all_fear_in_one),
        ("--data.fold", "7", "--data.test_split", "none"),
        ("--data.fold: 7", "1, 2"),
    ),
    "a test set of one class": (edited(one_class_in_the_test_set), (), ("all 14 test samples", "are happy")),
    "official without a test set": (
        as_they_are,
        ("--official", "--data.test_split", "none"),
        ("--official", "--data.fold"),
    ),
    "numbers of no column": (as_they_are, ("--task", "regress"), ("--data.columns",)),
    "columns nobody filled": (
        as_they_are,
        ("--task", "regress", "--data.columns", '["valence"]'),
        ("42 of 42 samples", "valence"),
    ),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_cannot_be_learnt(case, refusal, labelled_shards, tmp_path):
    shards, flags, words = LABELS[case]
    message = refusal(arguments(shards(labelled_shards, tmp_path), tmp_path / "run", *flags))
    assert all(word in message for word in words), message
    assert not (tmp_path / "run").exists()


SETTINGS = {
    "an average of nothing": (("--ema-decay", "1.0"), ("--ema-decay", "1.0")),
    "a rate of nothing": (("--model.base_lr", "0"), ("--model.base_lr",)),
    "a layer decay that grows": (("--model.layer_decay", "1.5"), ("--model.layer_decay", "1.5")),
    "weights nowhere": (("--init-from", "runs/nowhere"), ("runs/nowhere",)),
    "no model": (("--model.architecture", "null"), ("--init-from", "--model.architecture")),
    "a batch beyond the samples": (("--data.batch_size", "500"), ("--data.batch_size",)),
    "a probe of single clips": (("--freeze-encoder", "--data.batch_size", "1"), ("--data.batch_size",)),
    "a misspelt flag": (("--model.mix_up", "0.5"), ("--model.mixup",)),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_mean_nothing(case, refusal, labelled_shards, tmp_path):
    flags, words = SETTINGS[case]
    message = refusal(arguments(labelled_shards, tmp_path / "run", *flags))
    assert all(word in message for word in words), message


def test_weights_of_another_model(refusal, pretrained, labelled_shards, tmp_path):
    start = ("--init-from", pretrained)
    command = arguments(
        labelled_shards, tmp_path / "run", *start, "--model.architecture", "vit_joint_tiny_patch8_64"
    )
    message = refusal(command)
    assert "lgi_former_tiny_patch8_64" in message and "vit_joint_tiny_patch8_64" in message
    message = refusal(arguments(labelled_shards, tmp_path / "run", *start, model=MODEL | {"embed_dim": 32}))
    assert "--init-from" in message and ", 24)" in message and ", 32)" in message
    assert not (tmp_path / "run").exists()


def test_a_resume_with_other_classes_changes_nothing(refusal, from_scratch, labelled_shards, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(from_scratch, run)

    def three(record, number):
        label = number % 3
        return record | {"label": label, "label_name": "abc"[label]}

    other = rewritten(labelled_shards, tmp_path / "three", three, classes=("a", "b", "c"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    resume = ("finetune", "--run", run, "--resume", "--trainer.max_steps", "20")
    message = refusal([*resume, "--data.shards", other])
    assert "--resume" in message and "(7, 24)" in message and "(3, 24)" in message
    assert "--init-from" in refusal([*resume, "--init-from", run])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_loss_that_is_no_number_stops_the_run(refusal, labelled_shards, tmp_path):
    run = tmp_path / "run"
    wild = ("--model.base_lr", "1e30", "--model.warmup_share", "0", "--trainer.gradient_clip_val", "null")
    patience = ("--stop_after_skipped", "4")
    message = refusal(arguments(labelled_shards, run, *wild, *patience, "--data.val_share", "0"))
    assert "in 4 steps in a row" in message and "--model.base_lr" in message
    assert "train_" in (run / "non_finite.csv").read_text()
    assert not (run / "classifier" / "model.safetensors").exists() and not (run / "summary.json").exists()
