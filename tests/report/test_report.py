"""The page stands alone, shows the numbers that were computed, and cannot be broken by a name."""

import base64
import re

import numpy as np
import torch
from helpers.answers import classified, labelled, measured, records_of
from helpers.page import Page

from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import MAX_GROUPS, grouped
from maedfer.report.evaluation import EvaluationInfo, group_table, published_table, write_evaluation_page
from maedfer.report.page import Table, embed, write_page
from maedfer.report.runs import describe_pace, held_out_table, write_report
from maedfer.report.score_figures import draw_scores
from maedfer.runs.folder import RunFolder
from maedfer.tasks import TASKS


def report_of(folder, predictions, records=None, synthetic=True, seed=3, settings="model: tiny"):
    records = records_of(predictions) if records is None else records
    info = EvaluationInfo(
        title="t & <b>", command="maedfer finetune 'a b'", synthetic=synthetic, seed=seed, settings=settings
    )
    write_evaluation_page(folder, info, ScoreCard.of(predictions, records))
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and "http" not in text and "<b>" not in text
    return text, page


def test_a_page_of_a_classification(tmp_path):
    answers = classified([0, 0, 1], [0, 1, 1], ("<angry>", "happy"), confidence=0.75)
    draw_scores(tmp_path / "figures", ScoreCard.of(answers), "t")
    text, page = report_of(tmp_path, answers)
    assert page.tables["Scores"][:2] == [["UAR (%)", "75.0"], ["WAR (%)", "66.7"]]
    assert page.tables["Scores"][4:] == [["calibration error (%)", "8.3"], ["samples", "3"]]
    assert page.tables["Classes"] == [
        ["class", "recall (%)", "precision (%)", "F1 (%)", "samples"],
        ["<angry>", "50.0", "100.0", "66.7", "2"],
        ["happy", "100.0", "50.0", "66.7", "1"],
    ]
    assert ["torch", torch.__version__.split("+")[0]] in page.tables["Versions"]
    assert all(
        words in page.text for words in ("synthetic", "Seed 3.", "model: tiny", "maedfer finetune 'a b'")
    )
    assert text.count("<img") == 2
    images = re.findall(r'base64,([^"]*)"', text)
    assert base64.b64decode(images[0]) == (tmp_path / "figures" / "confusion.png").read_bytes()


def test_an_evaluation_has_neither_seed_nor_settings(tmp_path):
    text, page = report_of(
        tmp_path, classified([0, 1], [0, 1], "ab"), synthetic=False, seed=None, settings=None
    )
    assert not any(words in page.text for words in ("Seed", "Settings", "synthetic", "Confusion"))
    assert "<img" not in text


def test_a_page_of_quantities(tmp_path):
    answers = measured([[0, 0], [1, 0], [2, 3]], [[0, 1], [1, 1], [2, 1]], ("valence", "arousal"))
    _, page = report_of(tmp_path, answers)
    assert page.tables["Scores"] == [
        ["quantity", "CCC", "Pearson", "MSE", "MAE"],
        ["mean", "0.500", "0.500", "1.000", "0.667"],
        ["valence", "1.000", "1.000", "0.000", "0.000"],
        ["arousal", "0.000", "0.000", "2.000", "1.333"],
    ]
    assert "Classes" not in page.tables and "3 samples" in page.text


def test_a_page_of_several_labels(tmp_path):
    _, page = report_of(tmp_path, labelled([[1, 0], [1, 0]], [[0.9, 0.6], [0.6, 0.1]], ("smile", "wink")))
    assert ["macro F1 (%)", "100.0"] in page.tables["Scores"]
    assert ["classes without samples", "1"] in page.tables["Scores"]
    assert page.tables["Classes"][2] == ["wink", "–", "0.0", "0.0", "0"]


def test_groups_that_say_something(tmp_path):
    answers = classified([0, 1, 0, 1], [0, 1, 1, 1], "ab")
    columns = {"fold": [1, 1, 1, 1], "camera": ["left", "left", "right", "right"], "title": list("wxyz")}
    _, page = report_of(tmp_path, answers, records_of(answers, subject=["s1", "s1", "s2", None], **columns))
    assert [name for name in page.tables if name.startswith("By")] == ["By subject", "By camera"]
    assert page.tables["By camera"] == [
        ["group", "samples", "WAR (%)", "UAR (%)"],
        ["left", "2", "100.0", "100.0"],
        ["right", "2", "50.0", "50.0"],
    ]
    assert [row[:2] for row in page.tables["By subject"][1:]] == [["s1", "2"], ["s2", "1"]]


def test_labels_and_measurements_form_no_groups():
    answers = measured(np.arange(200), np.arange(200), ("valence",))
    columns = {"valence": [str(i // 2) for i in range(200)], "seconds": [i // 2 for i in range(200)]}
    assert grouped(answers, records_of(answers, **columns)) == {}


def test_only_the_largest_of_many_groups_are_shown():
    people = MAX_GROUPS + 10
    subjects = [f"s{i:03d}" for i in range(people)] + [f"s{i:03d}" for i in range(10, people)]
    answers = classified([0, 1] * (len(subjects) // 2), [0, 1] * (len(subjects) // 2), "ab")
    rows = grouped(answers, records_of(answers, subject=subjects))["subject"]
    table = group_table(rows, TASKS["classify"].group_scores)
    assert [row[0] for row in table.rows] == [f"s{i:03d}" for i in range(10, people)]
    assert f"{MAX_GROUPS} groups with the most samples, of {people}" in table.note


def test_pieces_of_a_page(tmp_path):
    settings = "model:\n  size: 3\n  drop: null\nseed: null # <s>\nname: a null\n"
    pictures = {"losses": tmp_path / "nothing.png", "reconstruction": None}
    write_page(
        tmp_path / "p.html",
        "pretraining.html",
        title="A & B",
        command="",
        steps=1,
        synthetic=False,
        pace="",
        held_out=Table([["<x>", "1"]], ["name", "n"], note="n & m"),
        settings=settings,
        **pictures,
    )
    page = Page((tmp_path / "p.html").read_text())
    assert page.tables["Held-out reconstruction"] == [["name", "n"], ["<x>", "1"]] and "n & m" in page.text
    assert page.text.count("A & B") == 2 and page.open == []
    assert "Losses" not in page.text and "Reconstruction" not in page.text
    assert "model:\n  size: 3\nseed: null # <s>\nname: a null\n" in page.text
    assert embed(None) == embed(tmp_path / "nothing.png") == ""


def test_a_page_of_a_pretraining_run(tmp_path):
    run = RunFolder(tmp_path)
    summary = {"steps": 1200, "synthetic": True, "held_out": {}}
    run.config.write_text("mask_ratio: 0.9 # <of what>")
    write_report(run, "tiny on faces", "maedfer pretrain --run r", summary)
    page = Page(run.report.read_text())
    assert "1,200 steps. All faces in these data are synthetic." in page.text
    assert "mask_ratio: 0.9 # <of what>" in page.text and "Held-out" not in page.text


def test_held_out_errors_beside_their_baselines():
    errors = {
        f"{head}_{p}": v
        for head in ("appearance", "motion", "total")
        for p, v in (("model", 0.5), ("zero", 1.0), ("position_mean", 0.8))
    }
    assert held_out_table(errors).rows[0] == ("appearance", "0.5000", "1.0000", "0.8000", "37.5%")
    assert held_out_table({}).rows == []


def test_the_pace_of_a_run_is_that_of_its_windows(tmp_path):
    assert describe_pace(tmp_path) == ""
    rows = "5,40.00,0.1000,60\n9,60.00,0.3000,50\n14,10.00,0.5000,40\n"
    (tmp_path / "throughput.csv").write_text("step,clips_per_s,waiting,seconds_left\n" + rows)
    assert describe_pace(tmp_path) == "Trained on 40.0 clips/s, 30% of the time waiting for data."
    clips = "step,rank,key,start\n7,0,a,0.000\n7,0,b,0.000\n9,1,a,0.160\n"
    (tmp_path / "non_finite.csv").write_text(clips)
    assert describe_pace(tmp_path).endswith("loss was NaN or infinite: 2.")


def test_published_results_in_the_page():
    answers = classified([0, 1, 1], [0, 1, 0], "ab")
    card = ScoreCard.of(answers, records_of(answers, fold=[1, 1, 1]))
    assert published_table(card, None).rows == []
    table = published_table(card, "enterface05")
    assert list(filter(None, table.rows[-1])) == ["this run", "75.00", "66.67"]
    assert ["MAE-DFER", "V", "61.67", "61.64"] in [row[:4] for row in table.rows]
    assert published_table(card, "dfew").rows == []  # two classes are not its seven
    assert published_table(ScoreCard.of(measured([1, 2], [1, 2])), "enterface05").rows == []
