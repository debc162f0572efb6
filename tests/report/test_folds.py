"""Scores over folds worked out by hand, and what is written of them."""

import json

import pytest
import yaml
from helpers.answers import classified, labelled, measured, records_of
from helpers.page import Page

from maedfer.data.shards.origin import made_by
from maedfer.evaluation.fold_scores import pool_folds, read_folds, score_folds
from maedfer.evaluation.predictions import Predictions, read_predictions, write_predictions
from maedfer.report.folds import CrossValidationInfo, write_fold_results
from maedfer.runs.fold_folder import FoldFolder

DFEW = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")


def renamed(answers, prefix):
    """The same answers about other clips."""
    keys = [f"{prefix}-{key}" for key in answers.keys]
    return Predictions(keys, answers.outputs, answers.targets, answers.names, answers.task)


@pytest.fixture
def folder(tmp_path):
    """Writes the runs of folds: a function of the answers of each fold, by name."""

    def write(folds, subjects=None, settings=None):
        for fold, answers in folds.items():
            run = tmp_path / f"fold_{fold}"
            run.mkdir()
            answers = renamed(answers, fold)
            about = {"fold": [fold] * len(answers)} | ({"subject": subjects[fold]} if subjects else {})
            write_predictions(run / "predictions.csv", answers, records_of(answers, **about))
            own = {"data": {"fold": fold, "workers": ord(fold)}, "model": (settings or {}).get(fold, {})}
            (run / "config.yaml").write_text(yaml.safe_dump(own))
        return FoldFolder(tmp_path)

    return write


def about(folds, all_folds=None, synthetic=False):
    folds = list(folds)
    return CrossValidationInfo(
        folds=folds,
        all_folds=all_folds or folds,
        shards="faces",
        synthetic=synthetic,
        seed=3,
        commands=["maedfer finetune <x>"],
        settings="model: m",
    )


# Fold A: a 1/2, b 2/2, c 0/1; fold B has no c: a 1/1, b 1/2.
A = classified([0, 0, 1, 1, 2], [0, 1, 1, 1, 0], "abc")
B = classified([0, 1, 1], [0, 1, 2], "abc")


def test_scores_over_folds_by_hand(folder):
    runs = folder({"1": A, "2": B})
    answers = read_folds([(fold, runs.run_of(fold).path) for fold in "12"])
    found = score_folds(answers)
    assert found.folds["1"]["uar"] == pytest.approx(0.5) and found.folds["2"]["uar"] == pytest.approx(0.75)
    assert found.mean["uar"] == pytest.approx(0.625) and found.mean["samples"] == 8
    assert found.mean["war"] == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert found.std["uar"] == pytest.approx(0.25 / 2**0.5) and "samples" not in found.std
    assert [row.mean for row in found.classes] == pytest.approx([0.75, 0.75, 0.0])
    assert [row.samples for row in found.classes] == [3, 4, 1]
    assert (found.unit, found.units) == ("clip", 8)
    low, high = found.intervals["uar"]
    assert 0 <= low < found.mean["uar"] < high <= 1
    pooled = pool_folds(answers)
    assert pooled.keys == sorted(pooled.keys) and len(pooled) == 8
    assert (pooled.truth == pooled.predicted).mean() == pytest.approx(5 / 8)


def test_one_fold_has_no_spread(folder):
    runs = folder({"1": A}, subjects={"1": ["x", "x", "y", "y", "z"]})
    found = score_folds(read_folds([("1", runs.run_of("1").path)]))
    assert found.std == {} and (found.unit, found.units) == ("subject", 3)


def test_runs_that_do_not_fit(folder):
    runs = folder({"1": A, "2": classified([0, 1], [0, 1], "ab")})
    places = [(fold, runs.run_of(fold).path) for fold in "12"]
    with pytest.raises(ValueError, match="different classes"):
        read_folds(places)
    with pytest.raises(ValueError, match="5 clips are tested in two"):
        read_folds([places[0], ("2", places[0][1])])
    with pytest.raises(FileNotFoundError, match="fold_7"):
        read_folds([("7", runs.run_of("7").path)])


def test_what_is_written(folder):
    runs = folder({"1": A, "2": B}, settings={"1": {"base_lr": 0.1, "k": 1}, "2": {"base_lr": 0.2, "k": 1}})
    said = write_fold_results(runs, about("12", ["1", "2", "3"], synthetic=True), {})
    lines = [line.split() for line in said.splitlines()]
    shown = [["1", "50.00", "60.00"], ["2", "75.00", "66.67"], ["mean", "62.50", "63.33"]]
    assert [line[:3] for line in lines[1:5]] == [*shown, ["std", "17.68", "4.71"]]
    for words in ("synthetic", "2 of the 3 folds", "No test clip of c in fold 2", "8 clips, within folds"):
        assert words in said
    assert "different settings, model.base_lr: 0.1 in fold 1, 0.2 in fold 2" in said and "workers" not in said
    content = json.loads((runs.path / "scores.json").read_text())
    assert content["recall"]["c"] == {"mean": 0.0, "folds": [0.0, None], "samples": 1}
    assert content["scores"]["uar"] == pytest.approx(0.625) and content["published"] == []
    assert content["pooled"]["war"] == pytest.approx(5 / 8) and content["seed"] == 3
    assert len(read_predictions(runs.path / "predictions.csv")) == 8
    text = (runs.path / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and "<x>" not in text and text.count("<img") == 3
    assert page.tables["Folds"][3][:3] == ["mean", "62.50", "63.33"]
    assert page.tables["Classes"][3] == ["c", "0.00", "–", "0.00", "1"]
    assert "maedfer finetune <x>" in page.text and "Seed 3." in page.text


def test_published_results_stand_beside(folder):
    truth = list(range(7)) * 2
    runs = folder({"1": classified(truth, truth, DFEW), "2": classified(truth, [0] * 14, DFEW)})
    maker = made_by("maedfer pack", {"corpus": "dfew"})
    said = write_fold_results(runs, about("12"), maker)
    published = said.split("Published on dfew (sources in the report):")[1].splitlines()
    assert next(line.split() for line in published if line.startswith("MAE-DFER ")) == [
        *("MAE-DFER", "85", "50", "63.41", "74.43")
    ]
    assert published[-2].split() == ["these", "runs", "(2", "folds)", "57.14", "57.14"]
    page = Page((runs.path / "report.html").read_text())
    header, *rows = page.tables["Published on dfew"]
    assert header[-3:] == ["disgust (%)", "fear (%)", "source"] and len(rows) == 24
    assert rows[-1] == ["these runs (2 folds)", "57.14", "57.14", "100.00", *["50.00"] * 6]
    unlike = (
        "Not the published test: that is the mean over 5 folds with 11,697 clips, this is the mean over 2"
    )
    assert f"{unlike} folds with 28 clips." in said and unlike in page.text
    assert "fold" not in header  # two folds have no rows of single ones beside them


def test_published_results_of_other_classes_stay_away(folder):
    runs = folder({"1": A, "2": B})
    assert "Published" not in write_fold_results(runs, about("12"), made_by("x", {"corpus": "dfew"}))


@pytest.mark.parametrize(
    ("answers", "header", "cells"),
    [
        (measured([[0, 0], [1, 0], [2, 3]], [[0, 1], [1, 1], [2, 1]], ("v", "w")), "CCC", ["v", "1.000"]),
        (labelled([[1, 0], [1, 0]], [[0.9, 0.6], [0.6, 0.1]], ("v", "w")), "F1 (%)", ["v", "100.00"]),
    ],
)
def test_other_tasks(answers, header, cells, folder):
    runs = folder({"1": answers, "2": answers})
    said = write_fold_results(runs, about("12"), made_by("maedfer pack", {"corpus": "dfew"}))
    assert "mean" in said and "Published" not in said
    page = Page((runs.path / "report.html").read_text())
    assert page.tables["Classes"][0][0] == header and page.tables["Classes"][1][:2] == cells
    assert page.open == [] and (runs.path / "figures" / "folds.png").is_file()
