"""Parts: nobody on both sides, every sample once, the same for a seed, and what is refused."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.data.labels.subsets import SplitRules, check_test, labelled_subset, make_subsets
from maedfer.data.labels.targets import LabelReader
from maedfer.data.labels.validation_share import validation_share
from maedfer.data.shards.records import TrackRecord
from maedfer.errors import UserError
from maedfer.tasks import TASKS

NAMES = ("angry", "happy", "sad")
READER = LabelReader(TASKS["classify"], NAMES)
AFFECT = LabelReader(TASKS["regress"], ("valence",), columns=True)


def rows(count, split="train", subjects=12, **fields):
    """Records whose classes take turns and whose subjects have several samples each."""
    return [
        {
            "key": f"{split}-{n:03d}",
            "source": f"{split}/{n}.mp4",
            "label_name": NAMES[n % 3],
            "subject": f"{split} {n * 7 % subjects}",
            "fold": 1 + n % 4,
            "metadata": {"valence": str(n / count), "age": n % 2},
            **fields,
        }
        for n in range(count)
    ]


def tracks(some):
    """The records of rows."""
    return [TrackRecord(frames=1, fps=12.5, width=8, height=8, encoding="jpeg", **row) for row in some]


def parts_of(train, test=(), val=(), reader=READER, **rules):
    splits = {"train": tracks(train), "val": tracks(val), "test": tracks(test)}
    return make_subsets(splits, reader, SplitRules(**rules))


def test_without_any_rule_the_splits_are_the_parts():
    parts = parts_of(rows(9), rows(6, "test"), rows(4, "val"), val_share=0.3)
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [9, 4, 6]
    assert parts.val.split == "val" and parts.test.numbers.tolist() == list(range(6))
    assert parts.train.targets.argmax(1).tolist() == [n % 3 for n in range(9)]
    alone = parts_of(rows(9), val_share=0)
    assert alone.val is None is alone.test and len(alone.train) == 9


@settings(max_examples=60, deadline=None)
@given(
    people=st.lists(st.integers(0, 14), min_size=30, max_size=60),
    share=st.sampled_from([0.1, 0.2, 0.25, 0.5]),
    seed=st.integers(0, 5),
    reader=st.sampled_from([READER, AFFECT]),
)
def test_nobody_is_on_both_sides_of_a_validation_share(people, share, seed, reader):
    train = [row | {"subject": f"s{who}"} for row, who in zip(rows(len(people)), people, strict=True)]
    try:
        parts = parts_of(train, val_share=share, seed=seed, reader=reader)
    except UserError as error:
        assert error.parameter == "val_share" and str(share) in str(error)
        return
    for part in (parts.train, parts.val):
        assert (np.diff(part.numbers) > 0).all() and part.keys == [train[n]["key"] for n in part.numbers]
        assert np.array_equal(part.targets, reader.targets(part.records))
    assert sorted([*parts.train.numbers, *parts.val.numbers]) == list(range(len(people)))
    assert not set(parts.train.groups("subject")) & set(parts.val.groups("subject"))
    if reader is READER:
        assert (parts.train.targets.sum(0) > 0).all()


def test_a_validation_share_is_stratified_seeded_and_of_the_wanted_size():
    train = rows(120, subjects=40)
    counts = Counter(parts_of(train, val_share=0.2).val.top_classes.tolist())
    assert counts == {0: 8, 1: 8, 2: 8}
    chosen = [parts_of(train, val_share=0.2, seed=seed).val.numbers.tolist() for seed in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1] and len({tuple(numbers) for numbers in chosen}) == 3
    assert len(parts_of(train, val_share=0.5).val) == 60
    assert len(parts_of(train, val_share=0.25, reader=AFFECT).val) == 30


def test_without_a_subject_the_source_stands_for_it():
    train = [row | {"subject": None, "source": f"{n // 3}.mp4"} for n, row in enumerate(rows(45))]
    train[0]["subject"] = "7.mp4"  # a subject that is called like a source is not that source
    parts = parts_of(train, val_share=0.2)
    assert not set(parts.train.groups("source")) & set(parts.val.groups("source")) - {"0.mp4"}
    assert len(parts.val) == pytest.approx(9, abs=2)


def test_a_share_keeps_the_only_person_with_a_class_in_training():
    train = [row | {"label_name": "angry" if row["subject"] == "train 3" else "sad"} for row in rows(36)]
    reader = LabelReader(TASKS["classify"], ("angry", "sad"))
    for seed in range(8):
        parts = parts_of(train, val_share=0.25, seed=seed, reader=reader)
        assert "train 3" in parts.train.groups("subject") and len(parts.val) > 0


def test_a_share_that_cannot_be_held_out_is_refused():
    for train in (rows(30, subjects=1), rows(3), rows(30, subjects=3)):
        with pytest.raises(UserError, match=r"^val_share: 0.2 of \d+ samples of \d+ subjects .*`val_split`"):
            parts_of(train, val_share=0.2)
    with pytest.raises(UserError, match=r"^val_share: 0.2.* of 1 subjects"):
        parts_of(rows(30, subjects=1), reader=AFFECT)
    assert validation_share(np.eye(3), ["a", "b", "c"], 0.5, TASKS["classify"], 0) is None


def test_a_fold_is_the_test_part():
    parts = parts_of(rows(48), fold="3", val_share=0)
    assert parts.test.groups("fold") == ["3"] * 12 and set(parts.train.groups("fold")) == {"1", "2", "4"}
    assert sorted([*parts.train.numbers, *parts.test.numbers]) == list(range(48))
    assert parts.test.split == "train" and parts_of(rows(48), fold=3).test.keys == parts.test.keys
    with pytest.raises(UserError, match=r"^fold: 3 .* there is a split test: .*`test_split`"):
        parts_of(rows(48), rows(6, "test"), fold=3)
    with pytest.raises(UserError, match=r"^fold: 9 must be one of .* \(folds: 1, 2, 3, 4\)"):
        parts_of(rows(48), fold=9)
    with pytest.raises(UserError, match=r"^fold: 1 .* \(folds: none\)"):
        parts_of(rows(48, fold=None), fold=1)
    with pytest.raises(UserError, match=r"^fold: x is the only fold"):
        parts_of(rows(48, fold="x"), fold="x")


def test_official_chooses_on_the_test_part_and_trains_on_the_rest():
    parts = parts_of(rows(48), fold=2, official=True)
    assert parts.val is parts.test and len(parts.train) == 36
    split = parts_of(rows(9), rows(6, "test"), rows(4, "val"), official=True)
    assert split.val is split.test and len(split.train) == 9
    with pytest.raises(UserError, match=r"^official: .* there are none"):
        parts_of(rows(9), official=True)


def test_few_labels_are_a_part_of_more():
    train = rows(90, subjects=30)
    few, more, other = (
        parts_of(train, labels_per_class=n, seed=seed) for n, seed in ((4, 0), (9, 0), (4, 1))
    )
    whole = parts_of(train)
    assert (
        Counter(few.train.top_classes.tolist()) == {0: 4, 1: 4, 2: 4}
        and (np.diff(few.train.numbers) > 0).all()
    )
    assert set(few.train.keys) < set(more.train.keys) < set(whole.train.keys)
    assert few.val.keys == whole.val.keys and few.train.keys != other.train.keys
    assert few.train.keys == parts_of(train, labels_per_class=4).train.keys
    drawn = {tuple(parts_of(train, labels_per_class=4, val_share=0, seed=s).train.keys) for s in range(4)}
    assert len(drawn) == 4
    with pytest.raises(UserError, match=r"^labels_per_class: 31 is more than the 30 .* of angry"):
        parts_of(train, labels_per_class=31, val_share=0)
    with pytest.raises(UserError, match=r"^labels_per_class: .*`task=regress` has none"):
        parts_of(train, labels_per_class=4, reader=AFFECT)


def test_samples_without_a_label_are_refused_or_left_out():
    train = rows(12)
    for n in (4, 7):
        train[n] |= {"label_name": None}
    message = r"2 of 12 samples of split train have no label \(first: train-004\): `skip_unlabelled=true`"
    with pytest.raises(UserError, match=message):
        parts_of(train, val_share=0)
    parts = parts_of(train, val_share=0, skip_unlabelled=True)
    assert (
        parts.train.numbers.tolist() == [0, 1, 2, 3, 5, 6, 8, 9, 10, 11]
        and not np.isnan(parts.train.targets).any()
    )
    with pytest.raises(UserError, match=r"1 of 3 samples of split test .*first: test-000"):
        parts_of(
            rows(9), [row | {"label_name": None if n < 1 else "sad"} for n, row in enumerate(rows(3, "test"))]
        )
    with pytest.raises(
        UserError, match=r"6 of 6 .* have no votes .*: the records have label_name, column age, .*`columns`"
    ):
        labelled_subset(
            "train", tracks(rows(6)), LabelReader(TASKS["classify"], NAMES, soft=True), skip_unlabelled=True
        )


def test_a_class_that_cannot_be_learnt_is_named():
    train = [row | {"label_name": "happy" if row["fold"] == 1 else "sad"} for row in rows(24)]
    reader = LabelReader(TASKS["classify"], ("happy", "sad", "bored"))
    with pytest.raises(UserError, match=r"^classes: split train has no sample of bored to train on"):
        parts_of(train, reader=reader)
    two = LabelReader(TASKS["classify"], ("happy", "sad"))
    with pytest.raises(UserError, match=r"without fold 1 has no sample of happy .*another `fold`"):
        parts_of(train, fold=1, reader=two)
    units = LabelReader(TASKS["multilabel"], ("age", "au9"), columns=True)
    with pytest.raises(UserError, match=r"^columns: .*no sample of au9 to train on"):
        parts_of([row | {"metadata": {"age": 1, "au9": 0}} for row in train], reader=units)


def test_a_test_part_of_one_class_is_refused_and_a_val_part_is_not():
    one = [row | {"label_name": "happy"} for row in rows(5, "x")]
    with pytest.raises(UserError, match=r"all 5 test samples \(split test\) are happy: .*`test_split`"):
        parts_of(rows(9), one)
    assert len(parts_of(rows(9), rows(6, "test"), one).val) == 5
    check_test(labelled_subset("test", tracks(one), AFFECT, False), AFFECT)


def test_groups_are_fields_or_columns_of_the_metadata():
    part = labelled_subset("train", tracks([*rows(3), {"key": "last", "label_name": "sad"}]), READER, False)
    assert part.groups("subject") == ["train 0", "train 7", "train 2", None] and len(part) == 4
    assert part.groups("age") == ["0", "1", "0", None] and part.groups("weather") is None


@pytest.mark.parametrize(
    "rules, message",
    [
        ({"val_share": 0.6}, "^val_share: 0.6 must be a share between 0 and 0.5"),
        ({"val_share": -0.1}, "^val_share"),
        ({"labels_per_class": 0}, "^labels_per_class: 0 must be 1 or more"),
        ({"val_split": "test"}, "`official=true`"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules, message):
    with pytest.raises(UserError, match=message):
        SplitRules(**rules)


def test_a_folder_without_the_training_split_is_refused():
    with pytest.raises(UserError, match=r"^split: there are no samples of split 'train'"):
        parts_of([], rows(6, "test"))
