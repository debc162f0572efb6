"""Predictions: nothing lost between ranks and files, nothing wrong let through."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers.answers import classified, labelled, measured, records_of
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.evaluation.predictions import (
    Predictions,
    check_counted,
    read_predictions,
    read_samples,
    write_predictions,
)
from maedfer.tasks import TASKS
from maedfer.training.finetuning.scoring import PredictionCollector

ALONE = SimpleNamespace(world_size=1)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def batch_of(keys, valid):
    """A batch whose outputs and targets (S, 2) follow from the keys."""
    values = torch.tensor([[int(key[1:]) / 100, 1 - int(key[1:]) / 100] for key in keys])
    return {"keys": keys, "outputs": values, "targets": values.round(), "valid": torch.tensor(valid)}


def test_a_collector_sorts_and_leaves_out_repeats():
    collector = PredictionCollector()
    for keys, valid in ((["k07", "k02"], [True, True]), (["k05", "k07"], [True, False])):
        batch = batch_of(keys, valid)
        collector.add(batch | {"outputs": batch["outputs"].bfloat16()})
    keys, outputs, targets = collector.gather(ALONE)
    assert keys == ["k02", "k05", "k07"] and outputs.dtype == targets.dtype == np.float64
    np.testing.assert_allclose(outputs[:, 0], [0.02, 0.05, 0.07], rtol=1e-2)
    np.testing.assert_array_equal(targets, [[0, 1]] * 3)


def gather_in_a_group(rank, folder, ranks):
    """A rank that answers every third key; the last one has nothing but repeats."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    collector = PredictionCollector()
    own = [f"k{i:02d}" for i in range(rank, 11, ranks - 1)] if rank < ranks - 1 else ["k00", "k01"]
    collector.add(batch_of(own, [rank < ranks - 1] * len(own)))
    keys, outputs, targets = collector.gather(SimpleNamespace(world_size=ranks))
    np.savez(folder / f"rank{rank}.npz", keys=keys, outputs=outputs, targets=targets)
    dist.destroy_process_group()


def test_all_ranks_see_the_answers_of_all(tmp_path):
    options = {"nprocs": 3, "start_method": "fork"}
    torch.multiprocessing.start_processes(gather_in_a_group, (tmp_path, 3), **options)
    for rank in range(3):
        found = np.load(tmp_path / f"rank{rank}.npz")
        assert found["keys"].tolist() == [f"k{i:02d}" for i in range(11)]
        np.testing.assert_allclose(found["outputs"][:, 0], np.arange(11) / 100, rtol=1e-6)
        assert found["targets"].shape == (11, 2)


def test_counting_names_what_is_wrong():
    answers = classified([0, 1, 1], [0, 1, 1], "ab")
    check_counted(answers, ["k002", "k000", "k001"])
    with pytest.raises(RuntimeError, match=r"counted 3 of 5 samples: 2 missing \(first: k010\)"):
        check_counted(answers, [*answers.keys, "k011", "k010"])
    with pytest.raises(RuntimeError, match=r"counted 2 of 2 samples: 1 not of this subset \(first: k002\)"):
        check_counted(answers, ["k000", "k001"])
    twice = answers.take(np.array([0, 1, 1, 2, 2]))
    with pytest.raises(RuntimeError, match=r"3 of 3 samples: 2 counted more than once \(first: k001\)"):
        check_counted(twice, answers.keys)


def test_a_table_of_a_classification(tmp_path):
    answers = classified([0, 1], [0, 0], ("angry", "happy"), confidence=0.75)
    records = records_of(answers, subject=["anna", None], fold=[1, 1])
    write_predictions(tmp_path / "p.csv", answers, records[::-1])
    first, second = rows_of(tmp_path / "p.csv")
    assert first == {
        **{"key": "k000", "source": "faces/k000.mp4", "subject": "anna", "fold": "1"},
        **{"label": "angry", "predicted": "angry", "p_angry": "0.75", "p_happy": "0.25"},
    }
    assert (second["subject"], second["label"], second["predicted"]) == ("", "happy", "angry")


def test_votes_are_kept_in_the_table(tmp_path):
    targets = np.array([[0.6, 0.4], [1.0, 0.0]])
    answers = Predictions(
        ["a", "b"], np.array([[0.5, 0.5], [0.1, 0.9]]), targets, ("x", "y"), TASKS["classify"]
    )
    write_predictions(tmp_path / "p.csv", answers, records_of(answers))
    assert [row["label_x"] for row in rows_of(tmp_path / "p.csv")] == ["0.6", "1"]
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.csv").targets, targets)


def same(first, second):
    assert (list(first.keys), first.names, first.task) == (list(second.keys), second.names, second.task)
    np.testing.assert_array_equal(first.targets.astype(np.float32), second.targets.astype(np.float32))
    np.testing.assert_array_equal(first.outputs.astype(np.float32), second.outputs.astype(np.float32))


def test_other_tasks_come_back_from_their_table(tmp_path):
    several = labelled([[1, 0, 1], [0, 0, 0]], [[0.1, 0.9, 0.5], [1, 0, 1 / 3]], ("smile", "frown", "label"))
    continuous = measured(
        [[0.1, -1e-7], [3e5, 0.25]], [[1 / 3, 2.5], [-0.125, 1e-12]], ("valence", "p_arousal")
    )
    for answers in (several, continuous):
        write_predictions(tmp_path / "p.csv", answers, records_of(answers))
        same(read_predictions(tmp_path / "p.csv"), answers)


text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@given(names=st.lists(text, min_size=2, max_size=4, unique=True), subject=text, data=st.data())
def test_any_names_come_back_from_the_table(tmp_path_factory, names, subject, data):
    classes = st.integers(0, len(names) - 1)
    pairs = data.draw(st.lists(st.tuples(classes, classes), min_size=1, max_size=5))
    answers = classified([t for t, _ in pairs], [p for _, p in pairs], names, confidence=2 / 3)
    path = tmp_path_factory.mktemp("table") / "p.csv"
    write_predictions(path, answers, records_of(answers, subject=[subject] * len(pairs)))
    same(read_predictions(path), answers)
    assert rows_of(path)[0]["subject"] == subject


@pytest.mark.parametrize(
    "content", ["", "key,label\n", "key,label\na,x\n", "a,b\n1,2\n", "key,label,p_x,p_y\na,z,0.5,0.5\n"]
)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(ValueError, match="is not a file of predictions"):
        read_predictions(tmp_path / "p.csv")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="maedfer evaluate"):
        read_predictions(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        ([[np.nan, 1], [0.5, 0.5]], [[1, 0], [0, 1]], r"1 of 2 samples \(first: a\) have NaN"),
        ([[0.5, 0.5], [0.5, 0.5]], [[1, 0], [np.nan, np.nan]], r"1 of 2 samples \(first: b\) have no label"),
        ([[2.5, -1.5], [0.5, 0.5]], [[1, 0], [0, 1]], "logits"),
        ([[0.5, 0.3], [0.5, 0.5]], [[1, 0], [0, 1]], "add up to 1"),
        ([[0.5, 0.5]], [[1, 0], [0, 1]], r"\(1, 2\)"),
    ],
)
def test_numbers_that_are_no_answers_are_refused(outputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Predictions(["a", "b"], np.array(outputs), np.array(targets), ("x", "y"), TASKS["classify"])


def test_what_a_file_says_of_its_samples(tmp_path):
    answers = classified([0, 1, 0], [0, 1, 1], "ab")
    records = records_of(answers, subject=["x", None, 3], fold=[1, 1, "two"])
    write_predictions(tmp_path / "p.csv", answers, records)
    found = read_samples(tmp_path / "p.csv")
    assert [row.key for row in found] == list(answers.keys)
    assert [(row.subject, row.fold) for row in found] == [("x", "1"), (None, "1"), ("3", "two")]
    assert found[0].source == "faces/k000.mp4"
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_samples(tmp_path / "nothing.csv")
