"""The parts that labelled samples play: which train, which choose the best epoch, which test, once.

The test part is a split of its own or a fold of the training split. The best epoch is chosen on a held-out
part: a split of its own, or a share of the training samples whose subjects are in no other part of it.
Upstream validates on the test part itself; `official` does that too, and then the last epoch counts, as in
its numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maedfer.data.labels.targets import LabelReader
from maedfer.data.labels.validation_share import held_out_share
from maedfer.data.shards.records import TrackRecord
from maedfer.randomness import seed_of


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled samples of one split.

    Attributes:
        split: Name of the split.
        numbers: Their numbers in the split, int64 (n,), ascending.
        records: Their records, without fields of single frames.
        targets: Their targets, float32 (n, K).
    """

    split: str
    numbers: np.ndarray
    records: tuple[TrackRecord, ...]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def keys(self) -> list[str]:
        """Keys of the samples."""
        return [record.key for record in self.records]

    @property
    def top(self) -> np.ndarray:
        """The class with the largest target of each sample, int64 (n,)."""
        return self.targets.argmax(1)

    def groups(self, column: str) -> list[str | None] | None:
        """What a field of the records (`subject`) or of their metadata says; None where none has it."""
        cells = [record.value(column) for record in self.records]
        return None if all(cell is None for cell in cells) else [None if c is None else str(c) for c in cells]

    def only(self, which: np.ndarray) -> "Part":
        """The samples at some places, or where a mask bool (n,) is True."""
        places = np.sort(np.arange(len(self))[which])
        records = tuple(self.records[place] for place in places)
        return Part(self.split, self.numbers[places], records, self.targets[places])


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a run; without `val` nothing is held out, without `test` nothing is tested."""

    train: Part
    val: Part | None
    test: Part | None


@dataclass(frozen=True)
class PartRules:
    """How samples are parted.

    Attributes:
        val_share: Share of the training samples to hold out where there is no split for it.
        fold: Fold of the training split to test on.
        labels_per_class: Train on so many random samples of each class; None takes all.
        skip_unlabelled: Leave out samples without a label instead of refusing them.
        official: Validate on the test part, as upstream does, and train on all the rest.
        seed: Seed of everything random.
        train_split: Split to train on.
        val_split: Split to choose the best epoch on, where the shards have it.
        test_split: Split to test on, where the shards have it.

    Raises:
        ValueError: a number out of its range, or one split in two parts.
    """

    val_share: float = 0.2
    fold: str | int | None = None
    labels_per_class: int | None = None
    skip_unlabelled: bool = False
    official: bool = False
    seed: int = 0
    train_split: str = "train"
    val_split: str = "val"
    test_split: str = "test"

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 0.5:
            raise ValueError(f"--data.val_share {self.val_share} must be a share between 0 and 0.5")
        if self.labels_per_class is not None and self.labels_per_class < 1:
            raise ValueError(f"--data.labels_per_class {self.labels_per_class} must be 1 or more")
        if len({self.train_split, self.val_split, self.test_split}) < 3:
            raise ValueError(
                f"--data.split {self.train_split}, --data.val_split {self.val_split} and --data.test_split "
                f"{self.test_split} must be three splits; to validate on the test part, as upstream does, "
                "give --official true"
            )


def make_parts(records: Mapping[str, Sequence[TrackRecord]], reader: LabelReader, rules: PartRules) -> Parts:
    """Part the samples of a folder.

    Args:
        records: The records of the splits that the folder has, each in the order of its samples.
        reader: Reads their targets.
        rules: How to part them.

    Raises:
        ValueError: samples without a label, a class without a training sample, a test part that says nothing,
            or rules that the samples cannot follow; the message names the flag.
    """
    if rules.labels_per_class is not None and not reader.task.is_single_label:
        raise ValueError(f"--data.labels_per_class counts classes: --task {reader.task.name} has none")
    wanted = (rules.train_split, rules.val_split, rules.test_split)
    train, val, test = (
        whole_part(split, records[split], reader, rules.skip_unlabelled) if records.get(split) else None
        for split in wanted
    )
    if train is None:
        raise ValueError(f"no samples of split {rules.train_split!r}: name another with --data.split")
    if rules.fold is not None:
        train, test = _fold(train, test, rules)
    _check_classes(train, reader, rules)
    if test is not None:
        check_test(test, reader)
    if rules.official:
        val = _official(test)
    elif val is None and rules.val_share:
        train, val = _held_out(train, reader, rules)
    if rules.labels_per_class is not None:
        train = _few(train, rules.labels_per_class, reader, rules.seed)
    return Parts(train, val, test)


def whole_part(
    split: str, records: Sequence[TrackRecord], reader: LabelReader, skip_unlabelled: bool
) -> Part:
    """All labelled samples of a split.

    Raises:
        ValueError: samples have no label (all of them, or `skip_unlabelled` is off).
    """
    whole = Part(split, np.arange(len(records)), tuple(records), reader.targets(records))
    missing = np.isnan(whole.targets).any(axis=1)
    if missing.all() or (missing.any() and not skip_unlabelled):
        remedy = _what_there_is(whole) if missing.all() else "--data.skip_unlabelled true leaves them out"
        raise ValueError(
            f"{missing.sum()} of {len(whole)} samples of split {split} have no {reader.what} "
            f"(first: {whole.keys[int(missing.argmax())]}): {remedy}"
        )
    return whole.only(~missing)


def _what_there_is(part: Part) -> str:
    """What the records of a split without any label have instead."""
    fields = [name for name in ("label_name", "votes") if part.groups(name) is not None]
    columns = sorted({name for record in part.records for name in record.metadata})
    names = ", ".join([*fields, *(f"column {name}" for name in columns)]) or "none of any kind"
    return f"the records have {names} (--task, --data.columns, --data.soft_labels)"


def check_test(part: Part, reader: LabelReader) -> None:
    """Refuse to test a classifier on a single class.

    Raises:
        ValueError: the part has one.
    """
    if reader.task.is_single_label and len(only := set(part.top.tolist())) == 1:
        raise ValueError(
            f"all {len(part)} test samples (split {part.split}) are {reader.names[only.pop()]}: scores on a "
            "single class say nothing, test on other samples (--data.test_split, --data.fold)"
        )


def _fold(train: Part, test: Part | None, rules: PartRules) -> tuple[Part, Part]:
    """The training split without a fold, and the fold."""
    if test is not None:
        raise ValueError(
            f"--data.fold {rules.fold} takes the test part out of split {train.split}, but there is a split "
            f"{test.split}: leave out --data.fold, or give --data.test_split another name"
        )
    chosen = in_fold(train, rules.fold)
    if chosen.all():
        raise ValueError(
            f"--data.fold {rules.fold} must be one of several folds of split {train.split} (folds: "
            f"{rules.fold})"
        )
    return train.only(~chosen), train.only(chosen)


def in_fold(part: Part, fold: str | int) -> np.ndarray:
    """Which samples of a part are of a fold, bool (n,).

    Raises:
        ValueError: none is.
    """
    folds = part.groups("fold") or []
    chosen = np.array([name == str(fold) for name in folds], dtype=bool)
    if not chosen.any():
        names = ", ".join(sorted({name for name in folds if name is not None})) or "none"
        raise ValueError(
            f"--data.fold {fold} must be one of several folds of split {part.split} (folds: {names})"
        )
    return chosen


def folds_of(records: Iterable[TrackRecord]) -> list[str]:
    """The folds that records name, numbers in their order and before words."""
    names = {str(record.fold) for record in records if record.fold is not None}
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _check_classes(train: Part, reader: LabelReader, rules: PartRules) -> None:
    """Refuse classes that cannot be learnt."""
    seen = (train.targets != 0).any(axis=0)
    absent = [name for name, learnable in zip(reader.names, seen, strict=True) if not learnable]
    if absent and reader.task.has_classes:
        fold = "" if rules.fold is None else f" without fold {rules.fold}"
        flag = "--data.columns" if reader.columns else "--data.classes"
        raise ValueError(
            f"split {train.split}{fold} has no sample of {', '.join(absent)} to train on: leave out of {flag}"
            + (", or take another --data.fold" if fold else "")
        )


def _official(test: Part | None) -> Part:
    if test is None:
        raise ValueError(
            "--official true validates on the test part, and there is none: name a fold of the training "
            "split (--data.fold) or a split (--data.test_split)"
        )
    return test


def _held_out(train: Part, reader: LabelReader, rules: PartRules) -> tuple[Part, Part]:
    """The training samples without a held-out share of them, and that share."""
    people = [_person(record) for record in train.records]
    seed = seed_of(rules.seed, "held-out share") % 2**32
    held = held_out_share(train.targets, people, rules.val_share, reader.task, seed)
    if held is None:
        raise ValueError(
            f"--data.val_share {rules.val_share}: {len(train)} samples of {len(set(people))} subjects (or "
            "sources) cannot be parted so that every class stays in training: take another share, pack a "
            "split to hold out (--data.val_split), or hold nothing out (0)"
        )
    return train.only(~held), train.only(held)


def _person(record: TrackRecord) -> str:
    """Who must not be on both sides: the subject, or else everything out of one source."""
    if record.subject is not None:
        return f"subject {record.subject}"
    return f"source {record.source or record.key}"


def _few(train: Part, count: int, reader: LabelReader, seed: int) -> Part:
    """So many samples of each class, those of the lowest random number: fewer of them are among more."""
    drawn = np.argsort([seed_of(seed, "labels per class", key) >> 65 for key in train.keys])
    places = []
    for number, name in enumerate(reader.names):
        of_class = drawn[train.top[drawn] == number]
        if len(of_class) < count:
            raise ValueError(
                f"class {name} has {len(of_class)} training samples, --data.labels_per_class asks for {count}"
            )
        places.append(of_class[:count])
    return train.only(np.concatenate(places))
