"""`maedfer finetune` really run on tiny labelled shards: what is learnt, from where, and what is kept."""

import json

import numpy as np
import pytest
import torch
from helpers.finetuning_runs import MODEL, STEPS, arguments, rewritten, scores, table
from safetensors.torch import load_file

import maedfer
from maedfer.__main__ import main
from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.evaluation.predictions import read_predictions
from maedfer.models.config import read_config
from maedfer.training.finetuning import scoring
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.run.records import MetricsFile

pytestmark = pytest.mark.long

NAME = "lgi_former_tiny_patch8_64"
NO_VALIDATION = ("--data.val_share", "0")


def exported(run):
    """The exported weights by name."""
    return load_file(run / "classifier" / "model.safetensors")


def checkpoint(run, which):
    """Weights of the module in `last.ckpt` or `best.ckpt`."""
    return torch.load(run / "checkpoints" / f"{which}.ckpt", weights_only=True)["state_dict"]


def same(weights, others, leaving_out=()):
    """Whether the first are the same tensors as those of the second, by name."""
    return all(
        torch.equal(value, others[name])
        for name, value in weights.items()
        if not name.startswith(leaving_out)
    )


@pytest.fixture
def first_epoch_wins(monkeypatch):
    """Make the first validation the best of all."""
    calls = []

    def falling(predictions):
        calls.append(None)
        return {**real(predictions), "uar": 1 / len(calls)}

    real = scoring.scores
    monkeypatch.setattr(scoring, "scores", falling)


def test_the_run_folder_is_what_the_design_promises(from_scratch):
    names = {str(path.relative_to(from_scratch)) for path in from_scratch.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith(("events.", "figures/"))} == {
        *("config.yaml", "metrics.csv", "throughput.csv", "validation.csv", "summary.json", "report.html"),
        "keys/rank0.txt",
        *("scores.json", "predictions.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"),
        *("classifier/config.json", "classifier/model.safetensors", "classifier/README.md"),
    }
    assert any(name.startswith("figures/") for name in names)
    steps = table(from_scratch / "metrics.csv")
    assert list(steps[0]) == ["step", "loss", "lr"]
    assert [int(row["step"]) for row in steps] == list(range(1, STEPS + 1))
    summary = json.loads((from_scratch / "summary.json").read_text())
    assert summary["steps"] == STEPS and summary["scores"] == scores(from_scratch)


def test_the_classifier_names_its_classes_and_takes_clips(from_scratch, labelled_shards):
    model = maedfer.load_classifier(from_scratch)
    assert model.config.output.names == LabelledDataModule(str(labelled_shards)).outputs
    assert model(torch.zeros(2, 3, 16, 32, 32)).shape == (2, 7)
    assert "synthetic" in (from_scratch / "classifier" / "README.md").read_text().lower()


def test_nobody_is_trained_on_and_scored(from_scratch, labelled_shards):
    data = LabelledDataModule(str(labelled_shards), val_share=0.25)
    trained = {line.split(" ")[1] for line in (from_scratch / "keys" / "rank0.txt").read_text().splitlines()}
    assert trained <= set(data.subset("train").keys)
    people = [set(data.subset(name).groups("subject")) for name in ("train", "val", "test")]
    assert sum(map(len, people)) == len(set.union(*people))


def test_a_pretrained_encoder_is_taken_over(pretrained, labelled_shards, tmp_path):
    still = ("--init-from", str(pretrained), "--model.base_lr", "1e-30", "--model.min_lr", "1e-31")
    run = tmp_path / "run"
    assert main(arguments(labelled_shards, run, *still, *NO_VALIDATION, steps=1)) == 0
    encoder, weights = load_file(pretrained / "encoder" / "model.safetensors"), exported(run)
    assert same(encoder, weights, leaving_out=("norm.",)) and len(encoder) > 30
    assert weights.keys() - encoder.keys() == {
        *("fc_norm.weight", "fc_norm.bias"),
        "head.weight",
        "head.bias",
    }
    # The frame interval is the recipe's; left open, it is that of the encoder (0.32 s), not the default.
    assert read_config(run / "classifier").input.frame_interval_s == 0.16
    opened = arguments(labelled_shards, tmp_path / "open", *still, *NO_VALIDATION, steps=1)
    opened[opened.index("--data.frame_interval_s") + 1] = "null"
    assert main(opened) == 0
    assert read_config(tmp_path / "open" / "classifier").input.frame_interval_s == 0.32


def test_learning_rates_fall_from_block_to_block():
    module = FineTuning(NAME, MODEL, layer_decay=0.5, weight_decay=0.1)
    module.build("classify", ("a", "b"), torch.eye(2), None)
    expected = {"patch_embed": 0.125, "region_tokens": 0.125, "blocks.0": 0.25, "blocks.1": 0.5}
    groups = {id(p): group for group in module.parameter_groups(1.0) for p in group["params"]}
    for name, parameter in module.classifier.named_parameters():
        if not parameter.requires_grad:
            continue
        group = groups.pop(id(parameter))
        assert group["lr"] == next((v for k, v in expected.items() if name.startswith(k)), 1.0), name
        assert group["weight_decay"] == (0.0 if parameter.ndim == 1 or name == "region_tokens" else 0.1), name
    assert not groups


@pytest.mark.parametrize("pool", ["region", "token", "all", "attentive"])
def test_every_trained_parameter_gets_a_gradient(pool):
    # Data-parallel training waits for each of them, and fails without.
    module = FineTuning(NAME, MODEL, pool=pool, drop_path_rate=0.0)
    module.build("classify", ("a", "b"), torch.eye(2), None)
    module(torch.randn(2, 3, 16, 32, 32)).square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None] == []
    frozen = {name for name, p in module.classifier.named_parameters() if not p.requires_grad}
    assert all(name.startswith("blocks.1.local_global") for name in frozen) and bool(frozen) == (
        pool == "region"
    )


@pytest.mark.parametrize("pool", ["region", "attentive"])
def test_a_probe_leaves_the_encoder_alone_and_is_exported_whole(pool, pretrained, labelled_shards, tmp_path):
    run = tmp_path / "run"
    probe = ("--init-from", str(pretrained), "--freeze-encoder", "--model.pool", pool, *NO_VALIDATION)
    assert main(arguments(labelled_shards, run, *probe, steps=6)) == 0
    encoder, weights = load_file(pretrained / "encoder" / "model.safetensors"), exported(run)
    assert same(encoder, weights)
    more = weights.keys() - encoder.keys()
    assert {name.split(".")[0] for name in more} == {"head"} | (
        {"attentive_pool"} if pool == "attentive" else set()
    )
    module = FineTuning(NAME, MODEL, pool=pool, freeze_encoder=True)
    module.build("classify", [str(k) for k in range(7)], torch.eye(7), None)
    module.load_state_dict(checkpoint(run, "last"))
    clips = torch.randn(3, 3, 16, 32, 32)
    with torch.no_grad():
        answers = module.eval()(clips)
        torch.testing.assert_close(maedfer.load_classifier(run)(clips), answers, rtol=1e-3, atol=1e-6)
    assert answers.std() > 1e-4


def with_numbers(record, number):
    """A record with columns of numbers, as text too, and votes: three for its class, one for the next."""
    votes = [0.0] * 7
    votes[record["label"]], votes[(record["label"] + 1) % 7] = 3, 1
    numbers = {
        "smile": str(number % 2),
        "frown": number % 3 // 2,
        "valence": f"{number / 50 - 0.4}",
        "arousal": 0.5,
    }
    numbers["arousal"] -= number % 5 / 5
    return record | {"votes": votes, "metadata": numbers}


@pytest.fixture(scope="module")
def numbered(labelled_shards, tmp_path_factory):
    return rewritten(labelled_shards, tmp_path_factory.mktemp("numbered") / "faces", with_numbers)


TASKS = {
    "multilabel": ("--task", "multilabel", "--data.columns", '["smile", "frown"]'),
    "regress": ("--task", "regress", "--data.columns", '["valence", "arousal"]'),
    "soft": ("--data.soft_labels", "true"),
}


@pytest.mark.parametrize("kind", TASKS)
def test_other_kinds_of_labels(kind, numbered, tmp_path):
    run = tmp_path / "run"
    mixed = ("--model.mixup", "0.8", "--model.cutmix", "1.0", "--model.erasing", "0.5")
    assert main(arguments(numbered, run, *TASKS[kind], *mixed, "--model.class_weights", "true", steps=6)) == 0
    found = scores(run)
    main_score = {"multilabel": "macro_f1", "regress": "ccc", "soft": "uar"}[kind]
    assert found["samples"] == 14 and main_score in found and main_score in table(run / "validation.csv")[0]
    targets = read_predictions(run / "predictions.csv").targets
    wanted = {
        "multilabel": [[0, 0], [1, 0], [0, 1], [1, 0]],
        "regress": [[-0.4, 0.5], [-0.38, 0.3], [-0.36, 0.1]],
    }.get(kind)
    if wanted is None:
        assert [sorted(row)[-2:] for row in targets.tolist()] == [[0.25, 0.75]] * 14
    else:
        assert targets[: len(wanted)] == pytest.approx(np.array(wanted), abs=1e-6)
    out = tmp_path / "again"
    soft = ["--soft-labels"] if kind == "soft" else []
    assert main(["evaluate", "--model", str(run), "--shards", str(numbered), "--out", str(out), *soft]) == 0
    assert scores(out) == pytest.approx(found, abs=1e-5)


def test_a_run_that_ends_before_its_first_validation_keeps_its_last_weights(
    labelled_shards, tmp_path, capsys
):
    run = tmp_path / "run"
    assert main(arguments(labelled_shards, run, steps=2)) == 0
    assert "before its first validation" in capsys.readouterr().out
    last = {name.removeprefix("classifier."): value for name, value in checkpoint(run, "last").items()}
    assert same(exported(run), last) and scores(run)["samples"] == 14


def test_the_best_epoch_is_exported_and_scored(first_epoch_wins, labelled_shards, tmp_path):
    run = tmp_path / "run"
    assert main(arguments(labelled_shards, run)) == 0
    validations = table(run / "validation.csv")
    assert len(validations) >= 2
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == int(validations[0]["step"]) < STEPS
    classifier = {name.removeprefix("classifier."): value for name, value in best["state_dict"].items()}
    assert same(exported(run), classifier)
    last = {name.removeprefix("classifier."): value for name, value in checkpoint(run, "last").items()}
    assert not same(exported(run), last)


def test_official_takes_the_last_epoch_and_chooses_on_the_test_set(
    first_epoch_wins, labelled_shards, tmp_path
):
    run = tmp_path / "run"
    # 42 samples are seven batches: the second epoch, and its validation, end with the run.
    assert main(arguments(labelled_shards, run, "--official", "--data.views", "1", steps=14)) == 0
    last = {name.removeprefix("classifier."): value for name, value in checkpoint(run, "last").items()}
    assert same(exported(run), last)
    final = table(run / "validation.csv")[-1]
    assert (int(final["step"]), int(final["samples"])) == (14, 14)
    assert float(final["ece"]) == pytest.approx(scores(run)["ece"], abs=1e-6)


def test_a_moving_average_is_what_is_exported(labelled_shards, tmp_path, monkeypatch):
    heads, real = [], MetricsFile.on_train_batch_end

    def noting(self, trainer, module, *rest):
        heads.append(module.classifier.head.weight.detach().double().clone())
        real(self, trainer, module, *rest)

    monkeypatch.setattr(MetricsFile, "on_train_batch_end", noting)
    assert (
        main(arguments(labelled_shards, tmp_path / "run", "--ema-decay", "0.5", *NO_VALIDATION, steps=4)) == 0
    )
    average = heads[0]
    for head in heads[1:]:
        average = (average + head) / 2
    found = exported(tmp_path / "run")["head.weight"].double()
    torch.testing.assert_close(found, average, rtol=0, atol=1e-6)
    assert (found - heads[-1]).abs().max() > 1e-4


def test_scores_without_a_test_set_are_those_of_the_exported_average(
    first_epoch_wins, labelled_shards, tmp_path, capsys
):
    run = tmp_path / "run"
    assert main(arguments(labelled_shards, run, "--ema-decay", "0.9", "--data.test_split", "none")) == 0
    assert "no test split" in capsys.readouterr().out
    first, *_, last = table(run / "validation.csv")
    assert float(first["ece"]) != float(last["ece"])
    assert scores(run)["ece"] == pytest.approx(float(first["ece"]), abs=1e-6)


def test_micro_batches_make_the_same_steps(labelled_shards, tmp_path):
    for name, batch, more in (
        ("whole", "6", ()),
        ("halves", "3", ("--trainer.accumulate_grad_batches", "2")),
    ):
        steady = ("--model.drop_path_rate", "0", "--model.drop_rate", "0")  # drawn anew for each micro-batch
        command = arguments(labelled_shards, tmp_path / name, *NO_VALIDATION, *more, *steady, steps=7)
        assert main([*command, "--data.batch_size", batch]) == 0
    whole, halves = (table(tmp_path / name / "metrics.csv") for name in ("whole", "halves"))
    for one, two in zip(whole, halves, strict=True):
        assert {k: float(v) for k, v in two.items()} == pytest.approx(
            {k: float(v) for k, v in one.items()}, rel=1e-3
        )
