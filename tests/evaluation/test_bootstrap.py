"""The bootstrap: sums give the scores, draws are whole subjects within folds, models share them."""

import numpy as np
import pytest
from helpers.answers import classified, labelled, measured

from maedfer.evaluation.bootstrap import ScoredSet, interval, mean_over, resample, resampling_units
from maedfer.evaluation.measures import per_class
from maedfer.evaluation.predictions import SampleInfo
from maedfer.evaluation.scores import score_sums, scores

RNG = np.random.default_rng(4)
NAMES = ("a", "b", "c")


def some_answers(task, n=40):
    """Answers that are right now and then."""
    if task == "classify":
        return classified(RNG.integers(3, size=n), RNG.integers(3, size=n), NAMES)
    truth, noise = RNG.normal(size=(n, 3)), RNG.normal(size=(n, 3))
    if task == "regress":
        offset, gain = np.array([3, 0, -7]), np.array([1, 0.5, 0])
        return measured(truth + offset, truth * gain + noise + offset, NAMES)
    return labelled(truth > 0.8, 1 / (1 + np.exp(-truth - noise)), NAMES)


def with_nothing_of_one_class(task):
    """The same where the third class has no sample (or its answers are constant)."""
    if task == "classify":
        return classified(RNG.integers(2, size=30), RNG.integers(3, size=30), NAMES)
    answers = some_answers(task)
    (answers.outputs if task == "regress" else answers.targets)[:, 2] = 0
    return answers


@pytest.mark.parametrize("make", [some_answers, with_nothing_of_one_class])
@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_sums_give_the_scores(task, make):
    answers = make(task)
    terms, from_sums = score_sums(answers)
    # Of all clips, and of a draw with repeats, both at once.
    rows = RNG.integers(len(answers), size=len(answers))
    found = from_sums(np.stack([terms.sum(0), terms[rows].sum(0)]))
    for place, part in enumerate((answers, answers.take(rows))):
        expected = scores(part)
        assert {"classify": "uar", "multilabel": "macro_f1", "regress": "ccc"}[task] in found
        for name in expected.keys() & found.keys():
            assert found[name][place] == pytest.approx(expected[name], abs=1e-9), name
        for row in [] if task == "regress" else per_class(part):
            name, value = {"classify": ("recall", row.recall), "multilabel": ("f1", row.f1)}[task]
            assert found[f"{name}_{row.name}"][place] == pytest.approx(value, abs=1e-12, nan_ok=True)
    assert len(found) == {"classify": 5, "multilabel": 5, "regress": 4}[task]


def test_a_bootstrap_worked_out_by_hand():
    # One fold of two subjects, one right in both clips and one wrong in both: draws are 0, 1/2 or 1, with
    # the shares 1/4, 1/2, 1/4. The other fold has one draw only.
    first = classified([0, 1, 0, 1], [0, 1, 1, 0], "ab")
    second = classified([0, 1], [0, 0], "ab")
    subjects = ScoredSet((first,), np.array([0, 0, 1, 1])), ScoredSet((second,), np.array([0, 0]))
    (drawn,) = resample(subjects, draws=4000, seed=1)
    values, counts = np.unique(drawn["war"], return_counts=True)
    assert values.tolist() == [0.25, 0.5, 0.75]  # the mean with 1/2 of the other fold
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert drawn["recall_a"].tolist() == ((drawn["war"] * 2 - 0.5 + 1) / 2).tolist()


def test_draws_are_those_of_a_loop():
    # Clips drawn one by one, scores from the samples themselves: the same distribution.
    folds = [some_answers("classify", n) for n in (30, 50)]
    (drawn,) = resample([ScoredSet((fold,), np.arange(len(fold))) for fold in folds], draws=3000)
    rng, slow = np.random.default_rng(9), []
    for _ in range(400):
        rows = [rng.integers(len(fold), size=len(fold)) for fold in folds]
        slow.append(np.mean([scores(f.take(r))["uar"] for f, r in zip(folds, rows, strict=True)]))
    assert drawn["uar"].mean() == pytest.approx(np.mean(slow), abs=0.01)
    assert drawn["uar"].std() == pytest.approx(np.std(slow), rel=0.15)
    low, high = interval(drawn["uar"])
    assert (low, high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.02)
    assert (drawn["uar"] < low).sum() == (drawn["uar"] > high).sum() == 75


def test_models_share_the_draws():
    one = some_answers("classify")
    first, second = resample([ScoredSet((one, one), np.arange(len(one)))], draws=50)
    assert first["uar"].tolist() == second["uar"].tolist() and first["uar"].std() > 0
    again = resample([ScoredSet((one,), np.arange(len(one)))], draws=50)[0]
    assert again["uar"].tolist() == first["uar"].tolist()


def test_many_draws_come_in_pieces(monkeypatch):
    one = some_answers("classify")
    monkeypatch.setattr("maedfer.evaluation.bootstrap.MAX_COUNTS", 100)
    (drawn,) = resample([ScoredSet((one,), np.arange(len(one)))], draws=51)
    assert drawn["war"].shape == (51,) and drawn["war"].mean() == pytest.approx(scores(one)["war"], abs=0.05)


def test_a_mean_is_over_what_is_defined():
    assert mean_over([{"a": 1.0, "b": np.nan}, {"a": 2.0, "b": 3.0}]) == {"a": 1.5, "b": 3.0}
    assert np.isnan(mean_over([{"a": np.nan}])["a"]) and np.isnan(interval(np.array([np.nan]))).all()


def test_whole_subjects_where_all_are_known():
    def records(*subjects):
        return [SampleInfo("k", subject=subject) for subject in subjects]

    units, what = resampling_units([records("x", "y", "x"), records(7, 8)])
    assert what == "subject" and [u.tolist() for u in units] == [[0, 1, 0], [0, 1]]
    for parts in ([records("x", None)], [records("x", ""), records("x", "y")], [records("x", "x")]):
        units, what = resampling_units(parts)
        assert what == "clip" and [u.tolist() for u in units] == [list(range(len(p))) for p in parts]
