"""Scores against tables worked out by hand, scikit-learn, torchmetrics and float64 loops."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from helpers.answers import classified, labelled, measured, records_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_recall

from maedfer.errors import UserError
from maedfer.evaluation.measures import MEASURES, concordance, confusion, correlation, per_class, reliability
from maedfer.evaluation.predictions import Predictions
from maedfer.evaluation.score_card import ScoreCard
from maedfer.evaluation.scores import (
    GroupScores,
    column_title,
    grouped,
    groups_of,
    score_sums,
    scores,
    scores_by,
    shown,
)
from maedfer.tasks import TASKS

SEVEN = ("sad", "neutral", "angry", "fear", "surprise", "happy", "disgust")


def answers_of(matrix):
    """True and predicted classes that have this confusion matrix."""
    pairs = [(t, p) for (t, p), count in np.ndenumerate(np.array(matrix)) for _ in range(count)]
    return np.array([t for t, _ in pairs]), np.array([p for _, p in pairs])


def test_a_matrix_worked_out_by_hand():
    matrix = [[4, 1, 0], [2, 2, 1], [0, 0, 10]]
    answers = classified(*answers_of(matrix), ("angry", "happy", "sad"))
    values = scores(answers)
    # recalls 4/5, 2/5, 10/10; precisions 4/6, 2/3, 10/11; F1 8/11, 1/2, 20/21; supports 5, 5, 10
    f1 = (8 / 11, 1 / 2, 20 / 21)
    assert confusion(answers).tolist() == matrix
    assert values["uar"] == pytest.approx((0.8 + 0.4 + 1) / 3)
    assert values["war"] == pytest.approx(16 / 20)
    assert values["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert values["weighted_f1"] == pytest.approx((5 * f1[0] + 5 * f1[1] + 10 * f1[2]) / 20)
    assert values["ece"] == pytest.approx(0, abs=1e-12) and values["samples"] == 20
    assert per_class(answers)[1] == ("happy", 2 / 5, 2 / 3, 0.5, 5)


def test_a_published_matrix():
    """DFEW fold 1 with three frames: the published diagonal and row sums give UAR 47.62 and WAR 54.80."""
    diagonal, totals = [267, 300, 220, 92, 94, 303, 3], [379, 534, 434, 180, 292, 486, 29]
    matrix = np.diag(diagonal)
    for row, total in enumerate(totals):
        matrix[row, (row + 1) % 7] = total - diagonal[row]
    values = scores(classified(*answers_of(matrix), SEVEN))
    assert values["war"] == pytest.approx(0.5480, abs=1e-4)
    assert values["uar"] == pytest.approx(0.4762, abs=1e-4)


def test_an_absent_class_counts_neither_predicted_nor_not():
    """Recalls 1 and 2/3 in both cases; torchmetrics has 0.833 for one and 0.556 for the other."""
    truth, names = [0, 0, 0, 1, 1, 1], ("a", "b", "c")
    cases = ([0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 2])
    ours = [scores(classified(truth, answers, names))["uar"] for answers in cases]
    assert ours == pytest.approx([0.8333, 0.8333], abs=1e-4)
    arguments = {"num_classes": 3, "average": "macro"}
    theirs = [float(multiclass_recall(torch.tensor(a), torch.tensor(truth), **arguments)) for a in cases]
    assert theirs == pytest.approx([0.8333, 0.5556], abs=1e-4), "the trap this test is about is gone"


@pytest.mark.parametrize("missing", [None, 2])
def test_agrees_with_sklearn(missing):
    generator = np.random.default_rng(3)
    names = tuple("abcde")
    truth = generator.choice([k for k in range(5) if k != missing], 200)
    outputs = generator.dirichlet(np.ones(5), 200)
    answers = Predictions([str(i) for i in range(200)], outputs, np.eye(5)[truth], names, TASKS["classify"])
    values, predicted = scores(answers), outputs.argmax(1)
    options = {"labels": np.unique(truth), "zero_division": 0}
    assert values["uar"] == pytest.approx(
        reference.recall_score(truth, predicted, average="macro", **options)
    )
    assert values["macro_f1"] == pytest.approx(
        reference.f1_score(truth, predicted, average="macro", **options)
    )
    assert values["weighted_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="weighted"))
    assert values["war"] == pytest.approx(reference.accuracy_score(truth, predicted))
    if missing is None:
        assert values["uar"] == pytest.approx(reference.balanced_accuracy_score(truth, predicted))
    table = reference.precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=np.nan)
    ours = np.array([row[1:] for row in per_class(answers)]).T
    np.testing.assert_allclose(ours, np.array(table)[[1, 0, 2, 3]])


def test_calibration_agrees_with_torchmetrics_and_a_loop():
    generator = np.random.default_rng(1)
    outputs = generator.dirichlet(np.full(7, 0.4), 500)
    truth = np.array([generator.choice(7, p=row) for row in outputs])
    answers = Predictions([str(i) for i in range(500)], outputs, np.eye(7)[truth], SEVEN, TASKS["classify"])
    theirs = multiclass_calibration_error(
        torch.from_numpy(outputs), torch.from_numpy(truth), num_classes=7, n_bins=15, norm="l1"
    )
    assert scores(answers)["ece"] == pytest.approx(float(theirs), abs=1e-6)
    confidence, accuracy, count = reliability(answers, bins=4)
    best, right = outputs.max(1), outputs.argmax(1) == truth
    for place in range(4):
        inside = (best > place / 4) & (best <= (place + 1) / 4)
        assert count[place] == inside.sum()
        if inside.any():
            assert (confidence[place], accuracy[place]) == pytest.approx(
                (best[inside].mean(), right[inside].mean())
            )
        else:
            assert math.isnan(confidence[place])


def test_a_bin_includes_its_upper_edge():
    answers = classified([0, 0, 0], [0, 0, 0], "abc", confidence=0.5)
    assert reliability(answers, bins=2)[2].tolist() == reliability(answers, bins=4)[2].tolist()[1:3] == [3, 0]


def test_a_class_never_predicted_and_a_single_sample():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = scores(classified([0, 1, 2], [0, 0, 0], ("a", "b", "c")))
        assert (values["uar"], values["macro_f1"]) == pytest.approx((1 / 3, 1 / 6))
        alone = scores(classified([1], [1], ("a", "b"), confidence=1.0))
    assert (alone["uar"], alone["war"], alone["macro_f1"], alone["ece"], alone["samples"]) == (1, 1, 1, 0, 1)
    rows = per_class(classified([0, 1, 2], [0, 0, 0], ("a", "b", "c", "d")))
    assert math.isnan(rows[1].precision) and rows[1].recall == 0 and math.isnan(rows[3].recall)


def test_votes_count_as_their_majority():
    votes = np.array([[0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    answers = Predictions(["a", "b", "c"], np.array([[0.9, 0.1]] * 3), votes, ("x", "y"), TASKS["classify"])
    assert scores(answers)["war"] == pytest.approx(1 / 3) and scores(answers)["uar"] == 0.5


def test_several_labels_agree_with_sklearn():
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 2, (60, 4))
    truth[:, 2] = 0
    outputs = generator.random((60, 4))
    values = scores(labelled(truth, outputs, "abcd"))
    predicted, present = (outputs >= 0.5).astype(int), [0, 1, 3]
    f1 = reference.f1_score(truth, predicted, average=None, zero_division=0)
    assert values["macro_f1"] == pytest.approx(f1[present].mean())
    assert values["micro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="micro"))
    assert values["exact_match"] == pytest.approx(reference.accuracy_score(truth, predicted))
    precision = reference.average_precision_score(truth[:, present], outputs[:, present], average="macro")
    assert values["mean_average_precision"] == pytest.approx(precision)
    assert (values["absent"], values["samples"]) == (1, 60)


def test_a_single_label_is_scored_by_its_positives():
    values = scores(labelled([[1], [1], [0], [0]], [[0.9], [0.2], [0.7], [0.1]], ["smile"]))
    assert (values["macro_f1"], values["micro_f1"], values["exact_match"]) == (0.5, 0.5, 0.5)
    assert values["mean_average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_labels_that_nobody_has_are_refused():
    with pytest.raises(UserError, match=r"^columns: none of 2 samples"):
        scores(labelled([[0, 0], [0, 0]], [[0.1, 0.2], [0.3, 0.6]], "ab"))


def concordance_loop(truth, answer):
    """Lin's coefficient from its definition, one number at a time."""
    n = len(truth)
    mean_t, mean_a = math.fsum(truth) / n, math.fsum(answer) / n
    cross = math.fsum((t - mean_t) * (a - mean_a) for t, a in zip(truth, answer, strict=True)) / n
    spread = [math.fsum((x - m) ** 2 for x in v) / n for v, m in ((truth, mean_t), (answer, mean_a))]
    return 2 * cross / (spread[0] + spread[1] + (mean_t - mean_a) ** 2)


def test_continuous_quantities_against_a_loop():
    generator = np.random.default_rng(7)
    targets = generator.uniform(-1, 1, (50, 2))
    outputs = 0.5 * targets + generator.normal(0, 0.2, (50, 2)) + 0.1
    values = scores(measured(targets, outputs, ("valence", "arousal")))
    for k, name in enumerate(("valence", "arousal")):
        truth, answer = targets[:, k], outputs[:, k]
        assert values[f"ccc_{name}"] == pytest.approx(concordance_loop(truth.tolist(), answer.tolist()))
        assert values[f"pearson_{name}"] == pytest.approx(np.corrcoef(truth, answer)[0, 1])
        assert values[f"mse_{name}"] == pytest.approx(reference.mean_squared_error(truth, answer))
        assert values[f"mae_{name}"] == pytest.approx(reference.mean_absolute_error(truth, answer))
    for kind in ("ccc", "pearson", "mse", "mae"):
        assert values[kind] == pytest.approx((values[f"{kind}_valence"] + values[f"{kind}_arousal"]) / 2)


def test_a_hand_computed_concordance():
    """Truth 1, 2, 3 and answers 2, 3, 4: covariance and variances 2/3, means 1 apart: (4/3)/(4/3 + 1)."""
    assert concordance(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])) == pytest.approx(4 / 7)
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])) == pytest.approx(1)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), arrays.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e3, 1e3)))
def test_a_constant_answer_earns_nothing(constant, truth):
    answer = np.full(len(truth), constant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert concordance(truth, answer) == correlation(truth, answer) == 0
        assert concordance(answer, truth) == correlation(answer, truth) == 0


def test_rounding_is_no_answer():
    truth = np.linspace(-1, 1, 9)
    assert correlation(truth, 0.3 + 1e-13 * truth) == concordance(truth, 0.3 + 1e-13 * truth) == 0
    assert correlation(truth, 0.3 + 1e-6 * truth) == pytest.approx(1)


series = arrays.arrays(np.float64, 12, elements=st.floats(-100, 100, width=32))


@settings(deadline=None)
@given(series, series)
def test_concordance_lies_below_correlation(truth, answer):
    assert abs(concordance(truth, answer)) <= abs(correlation(truth, answer)) + 1e-9 <= 1 + 1e-6


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_scores_follow_from_the_confusion_matrix(pairs):
    answers = classified([t for t, _ in pairs], [p for _, p in pairs], tuple("abcd"))
    counts, values = confusion(answers), scores(answers)
    present = counts.sum(1) > 0
    assert values["uar"] == pytest.approx((np.diag(counts)[present] / counts.sum(1)[present]).mean())
    assert values["war"] == pytest.approx(np.trace(counts) / counts.sum())
    assert all(0 <= values[name] <= 1 for name in ("uar", "war", "weighted_f1", "macro_f1", "ece"))


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="empty"):
        scores(classified([], [], ("a", "b")))


def test_scores_by_group():
    answers = classified([0, 1, 0, 1, 1], [0, 1, 1, 1, 0], ("a", "b"))
    records = records_of(answers, subject=["s1", "s1", "s2", "s2", None], camera=[1, 1, 2, 2, ""])[::-1]
    groups = groups_of(answers, records, "subject")
    assert groups == ["s1", "s1", "s2", "s2", None]
    assert scores_by(answers, groups) == [
        GroupScores("s1", 2, {"war": 1, "uar": 1}),
        GroupScores("s2", 2, {"war": 0.5, "uar": 0.5}),
    ]
    assert scores_by(answers, groups)[0].as_json() == {"name": "s1", "samples": 2, "war": 1, "uar": 1}
    assert groups_of(answers, records, "camera") == ["1", "1", "2", "2", None]
    assert set(groups_of(answers, records, "nothing")) == {None}
    with pytest.raises(ValueError, match="3 groups for 5 samples"):
        scores_by(answers, groups[:3])


def test_groups_of_other_tasks_may_lack_what_is_scored():
    several = labelled([[1, 0], [0, 0]], [[0.9, 0.1], [0.2, 0.1]], "ab")
    rows = scores_by(several, ["x", "y"])
    first, second = (row.scores for row in rows)
    assert first["micro_f1"] == 1 and math.isnan(second["micro_f1"]) and second["exact_match"] == 1
    rows = scores_by(measured([0, 1, 2, 5], [0, 1, 2, 9]), ["x", "x", "x", "y"])
    first, second = (row.scores for row in rows)
    assert (first["ccc"], second["ccc"], second["mse"]) == (pytest.approx(1), 0, 16)


def test_what_the_screen_shows():
    names = ("happy", "a rather long name")
    text = ScoreCard.of(classified([0, 0, 1], [0, 1, 1], names, confidence=0.9)).as_text(synthetic=True)
    lines = text.splitlines()
    assert lines[-1] == "(synthetic faces)"
    assert [line.split()[-1] for line in lines if line.startswith(("UAR", "samples"))] == ["75.0", "3"]
    assert "happy" in text and "50.0" in text and "a rather long name" in text
    regression = ScoreCard.of(measured([0, 1], [0, 1])).as_text(synthetic=False)
    assert "synthetic" not in regression
    assert "valence" in regression and "1.000" in regression


def test_numbers_as_people_read_them():
    assert (shown("uar", 0.61249), shown("ccc_arousal", -0.1234), shown("samples", 9172)) == (
        "61.2",
        "-0.123",
        "9,172",
    )
    assert shown("recall", math.nan) == "–"
    assert (shown("uar", 0.61249, 2), shown("uar", 0.125, 2, "+"), shown("mse", -0.5, 2, "+")) == (
        "61.25",
        "+12.50",
        "-0.500",
    )
    assert (shown("absent", 2.0, 2), shown("absent", 4 / 3, 2)) == ("2", "1.333")
    assert [column_title(score) for score in ("uar", "ccc", "samples")] == ["UAR (%)", "CCC", "samples"]
    assert column_title("recall", "happy") == "recall of happy (%)"


EXAMPLES = {
    "classify": classified([0, 1], [0, 1], "ab"),
    "multilabel": labelled([[1, 1]], [[0.6, 0.4]], "ab"),
    "regress": measured([0, 1], [0, 1]),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_has_every_score_that_it_names(task):
    assert MEASURES.keys() == TASKS.keys() == EXAMPLES.keys()
    answers = EXAMPLES[task.name]
    values, sums = scores(answers), score_sums(answers).of_all
    of_outputs = {f"{task.class_score}_{name}" for name in answers.names}
    assert {*task.main_scores, *task.group_scores, *task.output_scores} <= values.keys()
    assert {*task.main_scores, *of_outputs} == sums.keys()
    assert next(iter(values)) == task.main_score and list(values)[-1] == "samples"
    assert all(f"{score}_{name}" in values for score in task.output_scores for name in answers.names)


def test_a_score_card_holds_what_the_functions_compute():
    answers = classified([0, 1, 0, 1, 1], [0, 1, 1, 1, 0], ("a", "b"))
    records = records_of(answers, subject=["s1", "s1", "s2", "s2", None])
    card = ScoreCard.of(answers, records)
    assert card.scores == scores(answers) and list(card.classes) == per_class(answers)
    assert card.groups == grouped(answers, records) and ScoreCard.of(answers).groups == {}
    assert ScoreCard.of(measured([0, 1], [0, 1])).classes == ()
