"""`maedfer evaluate` and the scores of runs: one truth, counted once, with one rank or two."""

import json

import numpy as np
import pytest
from helpers.answers import labelled, records_of
from helpers.finetuning_runs import arguments, rewritten, scores, table
from helpers.two_ranks import on_two, run_together
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from maedfer.__main__ import main
from maedfer.data.shards.format import read_index, read_shard
from maedfer.evaluation.predictions import read_predictions
from maedfer.evaluation.score_card import ScoreCard
from maedfer.report.evaluation import EvaluationInfo, write_evaluation

pytestmark = pytest.mark.long


def keys_to_count(shards):
    """Keys of the test split, in order."""
    names = [entry.name for entry in read_index(shards).of_split("test")]
    return sorted(sample["__key__"].decode() for name in names for sample in read_shard(shards / name))


def evaluate(model, shards, out, *more):
    return main(["evaluate", "--model", str(model), "--shards", str(shards), "--out", str(out), *more])


def test_an_evaluation_finds_what_the_run_found(from_scratch, labelled_shards, tmp_path, capsys):
    assert evaluate(from_scratch, labelled_shards, tmp_path / "all", "--views", "2", "--batch-size", "5") == 0
    assert "synthetic" in capsys.readouterr().out
    assert scores(tmp_path / "all") == pytest.approx(scores(from_scratch), abs=1e-5)
    ours, theirs = (read_predictions(f / "predictions.csv") for f in (tmp_path / "all", from_scratch))
    assert ours.keys == theirs.keys == keys_to_count(labelled_shards)
    np.testing.assert_allclose(ours.outputs, theirs.outputs, atol=1e-5)
    assert (tmp_path / "all" / "report.html").is_file() and list((tmp_path / "all" / "figures").glob("*.png"))


def test_more_views_are_other_clips(from_scratch, labelled_shards, tmp_path):
    assert evaluate(from_scratch, labelled_shards, tmp_path / "one", "--views", "1") == 0
    one, two = (read_predictions(f / "predictions.csv") for f in (tmp_path / "one", from_scratch))
    assert abs(one.outputs - two.outputs).max() > 1e-5


def test_scores_are_those_of_scikit_learn(from_scratch):
    rows, found = table(from_scratch / "predictions.csv"), scores(from_scratch)
    truth, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
    shown = sorted(set(truth))
    assert found["uar"] == pytest.approx(
        recall_score(truth, predicted, labels=shown, average="macro", zero_division=0)
    )
    assert found["war"] == pytest.approx(accuracy_score(truth, predicted))
    assert found["weighted_f1"] == pytest.approx(
        f1_score(truth, predicted, average="weighted", zero_division=0)
    )
    matrix = confusion_matrix(truth, predicted, labels=shown)
    assert found["uar"] == pytest.approx(np.mean(matrix.diagonal() / matrix.sum(1)))
    names = [name.removeprefix("p_") for name in rows[0] if name.startswith("p_")]
    assert predicted == [max(names, key=lambda name: float(row[f"p_{name}"])) for row in rows]


def test_a_class_less_in_the_test_set_does_not_count(from_scratch, labelled_shards, tmp_path):
    fewer = rewritten(
        labelled_shards,
        tmp_path / "fewer",
        lambda record, number: None if record["label_name"] == "fear" and "test" in record["key"] else record,
    )
    assert evaluate(from_scratch, fewer, tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "predictions.csv")
    truth, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
    assert len(rows) == 12 and "fear" not in truth
    recalls = recall_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert scores(tmp_path / "out")["uar"] == pytest.approx(recalls)


def test_a_broken_sample_is_named_and_left_out(labelled_shards, from_scratch, tmp_path, capsys, caplog):
    # The last of the samples fills up the last batch six times, and must not be counted as seven.
    last = keys_to_count(labelled_shards)[-1]
    broken = rewritten(
        labelled_shards,
        tmp_path / "broken",
        lambda record, number: record | ({"mjpg": b"no picture"} if record["key"] == last else {}),
    )
    assert evaluate(from_scratch, broken, tmp_path / "out", "--batch-size", "20", "--workers", "0") == 0
    assert "1 of 14 samples cannot be decoded and are not scored" in capsys.readouterr().out
    assert last in caplog.text
    assert [row["key"] for row in table(tmp_path / "out" / "predictions.csv")] == keys_to_count(
        labelled_shards
    )[:-1]
    assert scores(tmp_path / "out")["samples"] == 13


def test_what_cannot_be_evaluated_is_one_line(from_scratch, pretrained, labelled_shards, tmp_path, capsys):
    def refused(model, shards, *more):
        assert evaluate(model, shards, tmp_path / "out", *more) == 2
        message = capsys.readouterr().err.strip()
        assert "\n" not in message and message.startswith("maedfer evaluate: "), message
        return message

    assert "encoder without classes" in refused(pretrained, labelled_shards)
    drawn = ["--shards", str(labelled_shards), "--out", str(tmp_path / "pictures")]
    assert main(["reconstruct", "--model", str(from_scratch), *drawn]) == 2
    assert "is fine-tuned and has no decoder" in capsys.readouterr().err
    assert "splits: test, train" in refused(from_scratch, labelled_shards, "--split", "other")
    strange = rewritten(
        labelled_shards,
        tmp_path / "strange",
        lambda record, number: record | {"label": None, "label_name": "bored" if number else "happy"},
    )
    assert "unknown labels bored" in refused(from_scratch, strange)
    assert "nowhere" in refused(tmp_path / "nowhere", labelled_shards)
    assert not (tmp_path / "out").exists()


def test_two_ranks_count_every_sample_once(labelled_shards, tmp_path):
    run = tmp_path / "run"
    command = arguments(labelled_shards, run, *on_two("ddp"), "--data.batch_size", "4", steps=5)
    run_together([command], tmp_path / "logs")
    assert read_predictions(run / "predictions.csv").keys == keys_to_count(labelled_shards)
    assert [int(row["samples"]) for row in table(run / "validation.csv")] == [10]
    assert [int(row["step"]) for row in table(run / "metrics.csv")] == [1, 2, 3, 4, 5]
    assert evaluate(run, labelled_shards, tmp_path / "out") == 0
    assert scores(tmp_path / "out") == pytest.approx(scores(run), abs=1e-5)


def test_a_subject_without_positives_has_no_f1(tmp_path):
    found = labelled([[1, 0], [0, 1], [0, 0], [0, 0]], [[0.9, 0.1], [0.2, 0.7], [0.1, 0.2], [0.3, 0.1]], "ab")
    records = records_of(found, subject=["ann", "ann", "bob", "bob"])
    info = EvaluationInfo(title="title", command="command", synthetic=True)
    write_evaluation(tmp_path, info, ScoreCard.of(found, records))
    by = json.loads((tmp_path / "scores.json").read_text())["by"]["subject"]
    assert [row["micro_f1"] for row in by] == [1.0, None]
    assert (tmp_path / "report.html").is_file()
