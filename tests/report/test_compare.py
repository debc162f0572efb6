"""`maedfer compare`: McNemar's table by hand, paired intervals by brute force, refusals."""

import json
from math import comb

import numpy as np
import pytest
from helpers.answers import classified, labelled, measured, records_of
from helpers.page import Page

from maedfer.__main__ import main
from maedfer.evaluation.compare import mcnemar
from maedfer.evaluation.predictions import Predictions, write_predictions
from maedfer.evaluation.scores import scores

RNG = np.random.default_rng(11)
NAMES = ("a", "b", "c")


@pytest.fixture
def run_of(tmp_path):
    """Writes the folder of a run; returns its path."""

    def write(name, answers, note=False, **columns):
        folder = tmp_path / name
        folder.mkdir()
        write_predictions(folder / "predictions.csv", answers, records_of(answers, **columns))
        if note:
            (folder / "folds.json").write_text("{}")
        return str(folder)

    return write


def compared(tmp_path, *runs):
    assert main(["compare", *runs, "--out", str(tmp_path / "out")]) == 0
    return json.loads((tmp_path / "out" / "comparison.json").read_text())


def test_mcnemar_by_hand():
    # Right: both 2, only the first 5, only the second 1, neither 1.
    truth = [0] * 9
    first, second = [0, 0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1, 1, 0, 1]
    found = mcnemar(classified(truth, first, "ab"), classified(truth, second, "ab"))
    assert found[:4] == (2, 5, 1, 1)
    assert found.p == pytest.approx(2 * sum(comb(6, k) for k in (5, 6)) / 2**6)
    same = mcnemar(classified(truth, first, "ab"), classified(truth, first, "ab"))
    assert same[:4] == (7, 0, 0, 2) and same.p == 1.0


def two_answers(n=60, confusion=0.4):
    """Answers of two models to the same clips; the second is better."""
    truth = RNG.integers(3, size=n)
    wrong = [RNG.random(n) < share for share in (confusion, confusion / 2)]
    return [classified(truth, np.where(w, RNG.integers(3, size=n), truth), NAMES) for w in wrong]


def test_means_over_folds_and_paired_intervals(run_of, tmp_path, capsys):
    first, second = two_answers()
    columns = {"fold": ["1"] * 25 + ["2"] * 35, "subject": [f"s{i // 5}" for i in range(60)]}
    found = compared(
        tmp_path, run_of("a", first, note=True, **columns), run_of("b", second, note=True, **columns)
    )
    assert found["folds"] == ["1", "2"] and (found["unit"], found["units"]) == ("subject", 12)
    folds = [np.arange(25), np.arange(25, 60)]
    for place, answers in (("first", first), ("second", second)):
        each = [scores(answers.take(rows))["uar"] for rows in folds]
        assert found["differences"]["uar"][place] == pytest.approx(np.mean(each))
    slow, rng = [], np.random.default_rng(2)
    for _ in range(400):
        drawn = [
            rows.reshape(-1, 5)[rng.integers(len(rows) // 5, size=len(rows) // 5)].ravel() for rows in folds
        ]
        uars = [[scores(answers.take(rows))["uar"] for rows in drawn] for answers in (first, second)]
        slow.append(np.mean(uars[1]) - np.mean(uars[0]))
    assert found["differences"]["uar"]["interval"] == pytest.approx(
        np.quantile(slow, [0.025, 0.975]), abs=0.03
    )
    said = capsys.readouterr().out
    assert "means over 2 folds" in said and "McNemar's exact test: p =" in said
    assert "12 subjects of 60 clips" in said
    page = Page((tmp_path / "out" / "report.html").read_text())
    rows = page.tables["Second minus first"]
    assert [row[0] for row in rows[1:]] == ["UAR (%)", "WAR (%)", *(f"recall of {n} (%)" for n in NAMES)]
    assert rows[2][3] == f"{100 * found['differences']['war']['difference']:+.2f}" and page.open == []


def test_the_order_of_clips_and_classes_does_not_matter(run_of, tmp_path):
    first, second = two_answers()
    order, classes = RNG.permutation(60), [2, 0, 1]
    turned = second.take(order)
    turned = Predictions(
        turned.keys,
        turned.outputs[:, classes],
        turned.targets[:, classes],
        ("c", "a", "b"),
        turned.task,
    )
    one = run_of("a", first)
    plain = compared(tmp_path, one, run_of("b", second))
    again = compared(tmp_path, one, run_of("c", turned))
    assert plain["differences"] == again["differences"] and plain["mcnemar"] == again["mcnemar"]
    assert plain["folds"] == [] and plain["unit"] == "clip"
    assert plain["differences"]["war"]["first"] == pytest.approx(scores(first)["war"])


def test_folds_of_one_hold_for_the_other(run_of, tmp_path):
    first, second = two_answers()
    folds = ["1"] * 30 + ["2"] * 30
    found = compared(tmp_path, run_of("a", first), run_of("b", second, note=True, fold=folds))
    each = [scores(first.take(rows))["uar"] for rows in (np.arange(30), np.arange(30, 60))]
    assert found["differences"]["uar"]["first"] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_other_tasks_have_no_mcnemar(task, run_of, tmp_path):
    truth, noise = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2))
    if task == "regress":
        pair = [measured(truth, truth + share * noise, ("v", "w")) for share in (1, 0.1)]
    else:
        labels = truth > 0
        pair = [labelled(labels, 1 / (1 + np.exp(-truth - s * noise)), ("v", "w")) for s in (1, 0.1)]
    found = compared(tmp_path, run_of("a", pair[0]), run_of("b", pair[1]))
    assert found["mcnemar"] is None
    main_score = {"multilabel": "macro_f1", "regress": "ccc"}[task]
    row = found["differences"][main_score]
    assert row["difference"] == pytest.approx(scores(pair[1])[main_score] - scores(pair[0])[main_score])
    assert row["interval"][0] < row["difference"] < row["interval"][1] and row["interval"][0] > 0


def test_a_class_without_clips(run_of, tmp_path):
    answers = classified([0, 1, 0, 1], [0, 1, 1, 1], NAMES)
    found = compared(tmp_path, run_of("a", answers), run_of("b", answers))
    assert found["differences"]["recall_c"]["difference"] is None
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.tables["Second minus first"][-1] == ["recall of c (%)", *"–––––"]


def test_what_cannot_be_compared(run_of, tmp_path, capsys):
    first, second = two_answers()
    one = run_of("a", first, note=True, fold=["1"] * 30 + ["2"] * 30)
    other_labels = classified((first.truth + 1) % 3, first.predicted, NAMES)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "folds.json").write_text("{}")
    cases = {
        run_of("fewer", second.take(np.arange(40))): "20 of 60 are only in the first, 0 of 40",
        run_of("classes", classified(first.truth, first.predicted, "xyz")): "x, y, z",
        run_of("labels", other_labels): "different labels for 60 of 60 clips",
        run_of("folds", second, note=True, fold=["1"] * 40 + ["2"] * 20): "different folds for 10 of 60",
        str(empty): "continue with: maedfer finetune --run",
        str(tmp_path / "nowhere"): "no such file",
    }
    for run, words in cases.items():
        assert main(["compare", one, run, "--out", str(tmp_path / "out")]) == 2
        message = capsys.readouterr().err.strip()
        assert words in message and "\n" not in message, message
    assert main(["compare", one, f"{one}/", "--out", str(tmp_path / "out")]) == 2
    assert "are the same folder" in capsys.readouterr().err
    before = sorted((tmp_path / "b").iterdir()) if run_of("b", second) else []
    for name in ("a", "b"):
        assert main(["compare", one, str(tmp_path / "b"), "--out", str(tmp_path / name)]) == 2
        assert "holds a run or an evaluation" in capsys.readouterr().err
    assert sorted((tmp_path / "b").iterdir()) == before
    assert main(["compare", one]) == 2 and "two runs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
