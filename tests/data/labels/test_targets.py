"""Labels: by name whatever the order of the classes, votes and columns, and what is refused."""

import json

import numpy as np
import pytest
from helpers.stream_shards import stream_sample, write_stream_shards
from hypothesis import given
from hypothesis import strategies as st

from maedfer.data.labels.targets import LabelReader, label_reader, read_records
from maedfer.data.shards.format import ShardIndex, read_index, write_shard
from maedfer.data.shards.records import TrackRecord
from maedfer.data.shards.remote import Fetcher, FetchFailed
from maedfer.data.shards.table import ShardTable
from maedfer.errors import UserError
from maedfer.tasks import TASKS

CLASSES = ("angry", "happy", "sad")


def index_of(*classes):
    return ShardIndex((), classes)


def record(label=None, **fields):
    name = CLASSES[label] if label in range(len(CLASSES)) else None
    return TrackRecord("k", 1, 12.5, 8, 8, "jpeg", **{"label": label, "label_name": name, **fields})


def target_of(reader, record):
    """The target of one sample; None without a label."""
    (target,) = reader.targets([record])
    return None if np.isnan(target).all() else target


def test_a_label_is_found_by_its_name_or_else_by_its_place():
    reader = label_reader(index_of(*CLASSES), "classify", ["sad", "angry", "happy"])
    assert reader.names == ("sad", "angry", "happy") and reader.label_kind == "label"
    assert (
        target_of(reader, record(1)).tolist() == [0, 0, 1]
        and target_of(reader, record(1)).dtype == np.float32
    )
    assert target_of(reader, record(label=2, label_name=None)).tolist() == [1, 0, 0]
    assert target_of(reader, record(label=0, label_name="sad")).tolist() == [
        1,
        0,
        0,
    ]  # of an index in another order
    assert target_of(reader, record()) is None
    numbers = label_reader(index_of(), "classify", [10, 2])
    assert target_of(numbers, record(label=1, label_name=None)).tolist() == [0, 1]
    assert target_of(numbers, record(label_name="2")).tolist() == [0, 1]


def test_unknown_labels_are_listed_with_the_known_ones():
    reader = label_reader(index_of(*CLASSES), "classify", ["angry", "sad"])
    some = [record(0), record(1), record(label_name="bored"), record(label=7, label_name=None), record()]
    with pytest.raises(UserError, match=r"unknown labels 7, bored, happy \(the classes are angry, sad\)"):
        reader.targets(some)
    with pytest.raises(UserError, match="unknown labels -1"):
        reader.targets([record(label=-1, label_name=None)])
    targets = reader.targets([some[0], some[-1], record(2)])
    assert targets.shape == (3, 2) and np.array_equal(targets, [[1, 0], [np.nan] * 2, [0, 1]], equal_nan=True)
    assert reader.targets([]).shape == (0, 2)


@given(
    votes=st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any),
    order=st.permutations(range(3)),
)
def test_votes_become_shares_at_the_place_of_their_class(votes, order):
    names = [CLASSES[place] for place in order]
    target = target_of(
        label_reader(index_of(*CLASSES), "classify", names, soft_labels=True), record(votes=votes)
    )
    for name, share in zip(names, target, strict=True):
        assert share == pytest.approx(votes[CLASSES.index(name)] / sum(votes))


def test_votes_that_say_nothing_and_votes_that_do_not_fit():
    reader = label_reader(index_of(*CLASSES), "classify", soft_labels=True)
    assert reader.label_kind == "votes"
    assert target_of(reader, record(1)) is None is target_of(reader, record(1, votes=[0, 0, 0]))
    with pytest.raises(UserError, match="sample k has 2 votes for 3 classes"):
        target_of(reader, record(votes=[1, 2]))
    with pytest.raises(UserError, match="sample k: column happy has -1, not a number of votes"):
        target_of(reader, record(votes=[1, -1, 2]))
    fewer = label_reader(index_of(*CLASSES), "classify", ["happy", "sad"], soft_labels=True)
    assert target_of(fewer, record(votes=[0, 3, 1])).tolist() == [0.75, 0.25]
    with pytest.raises(UserError, match="unknown labels angry"):
        target_of(fewer, record(votes=[1, 3, 1]))


@pytest.mark.parametrize("soft, expected", [(True, [0.1, 0.6, 0.3]), (False, [0, 1, 0])])
def test_votes_may_stand_in_columns_as_text(soft, expected):
    reader = label_reader(index_of(), "classify", columns=["a", "b", "c"], soft_labels=soft)
    target = target_of(reader, record(metadata={"c": "3", "a": "1", "b": 6.0, "d": "x"}))
    assert target == pytest.approx(expected) and target.dtype == np.float32


def test_numbers_of_columns():
    affect = label_reader(index_of(*CLASSES), "regress", columns=["valence", "arousal"])
    assert affect.names == ("valence", "arousal")
    assert target_of(affect, record(metadata={"arousal": "-0.25", "valence": 1})).tolist() == [1, -0.25]
    assert target_of(affect, record(metadata={"valence": 1})) is None is target_of(affect, record())
    assert "valence, arousal" in affect.label_kind
    units = label_reader(index_of(), "multilabel", columns=["au1", "au2"])
    assert target_of(units, record(metadata={"au1": "1", "au2": 0})).tolist() == [1, 0]
    assert target_of(units, record(metadata={"au1": 0, "au2": 0.0})).tolist() == [0, 0]


@pytest.mark.parametrize("cell", ["high", "nan", float("nan"), "inf", [1]])
def test_a_cell_that_is_no_number_is_named(cell):
    reader = LabelReader(TASKS["regress"], ("valence",), columns=True)
    with pytest.raises(UserError, match=r"sample k: column valence has .*, not a finite number"):
        target_of(reader, record(metadata={"valence": cell}))


def test_a_label_is_there_or_not():
    reader = LabelReader(TASKS["multilabel"], ("au1",), columns=True)
    with pytest.raises(UserError, match=r"sample k: column au1 has '0\.5', not 0 or 1"):
        target_of(reader, record(metadata={"au1": "0.5"}))


@pytest.mark.parametrize(
    "classes, settings, message",
    [
        ((), {"task": "classify"}, "^classes: the shards' index has no classes"),
        (("a",), {"task": "classify"}, "only one class, a"),
        ((), {"task": "classify", "classes": ["a", "b", "a"]}, "^classes: a, b, a has a name twice"),
        (CLASSES, {"task": "multilabel"}, "^task: .*`columns`"),
        (CLASSES, {"task": "regress", "columns": []}, "^task: .*`columns`"),
        ((), {"task": "regress", "columns": ["x"], "soft_labels": True}, "^soft_labels"),
        (
            (),
            {"task": "classify", "columns": ["a", "b"], "classes": ["b", "a"]},
            "^columns: .*leave out `classes`",
        ),
        (CLASSES, {"task": "guess"}, "^task: 'guess'"),
    ],
)
def test_what_cannot_be_learnt_is_refused(classes, settings, message):
    with pytest.raises(UserError, match=message):
        label_reader(index_of(*classes), **settings)


def table_of(folder):
    return ShardTable.of(read_index(folder).of_split("train"))


@pytest.mark.parametrize("address", ["{folder}", "pipe:cat {folder}/{{name}}"])
def test_records_come_in_the_order_of_the_samples(tmp_path, address):
    def edit(key, members):
        return stream_sample(key, label=int(key[-2:]), geometry={"boxes": [[0, 0, 1, 1]] * 40})

    folder = write_stream_shards(tmp_path / "faces", train=(3, 0, 2), edit=edit)
    records = read_records(address.format(folder=folder), table_of(folder), Fetcher())
    assert [row.key for row in records] == [*(f"train0-0{n}" for n in range(3)), "train2-00", "train2-01"]
    assert [row.label for row in records] == [0, 1, 2, 0, 1]
    assert all(row.geometry is None and row.frame_bytes is None for row in records)


def lacking(key, members):
    return {name: data for name, data in members.items() if name != "json" or key != "train1-00"}


def garbled(key, members):
    return members | ({"json": b"{"} if key == "train1-00" else {})


def listed(key, members):
    return members | ({"json": json.dumps([key]).encode()} if key == "train1-00" else {})


@pytest.mark.parametrize(
    "edit, message",
    [
        (lacking, "train-000001.tar holds 1 records, the index says 2"),
        (garbled, "cannot be read"),
        (listed, "no"),
    ],
)
def test_records_that_are_missing_or_garbled_are_refused(tmp_path, edit, message):
    folder = write_stream_shards(tmp_path / "bad", train=(2, 2), edit=edit)
    with pytest.raises(UserError, match=rf"{message}.*run `maedfer verify"):
        read_records(str(folder), table_of(folder), Fetcher())


def test_shards_that_are_cut_missing_or_too_full_are_refused(tmp_path):
    folder = write_stream_shards(tmp_path / "faces", train=(2, 2))
    table, path = table_of(folder), folder / "train-000001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match=r"train-000001.tar.*run `maedfer verify"):
        read_records(str(folder), table, Fetcher())
    write_shard(path, [stream_sample(f"more-{n}") for n in range(3)])
    with pytest.raises(
        UserError, match=r"train-000001.tar holds 3 records, the index says 2: run `maedfer verify"
    ):
        read_records(str(folder), table, Fetcher())
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"`shards=.*` has no train-000001.tar"):
        read_records(str(folder), table, Fetcher())
    with pytest.raises(FetchFailed, match=r"^shards: train-000000.tar could not be fetched .* exit code 1"):
        read_records(f"pipe:cat {folder / 'none'}/{{name}}", table, Fetcher(tries=1))
