"""Splits labelled samples into training, validation (model selection) and test subsets.

The test subset is a split of its own or a fold of the training split. The best epoch is chosen on the
validation subset: a split of its own, or a share of the training samples with subjects of its own. Upstream
validates on the test subset; `official` does so too, and then keeps the last epoch, as in its published
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maedfer.data.labels.targets import LabelReader
from maedfer.data.labels.validation_share import validation_share
from maedfer.data.shards.records import TrackRecord
from maedfer.errors import UserError
from maedfer.randomness import seed_of


@dataclass(frozen=True, eq=False)
class Subset:
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
    def top_classes(self) -> np.ndarray:
        """The class with the largest target of each sample, int64 (n,)."""
        top: np.ndarray = self.targets.argmax(1)
        return top

    def groups(self, column: str) -> list[str | None] | None:
        """Returns a field of the records (`subject`) or of their metadata as text; None where none has it."""
        values = [record.value(column) for record in self.records]
        if all(value is None for value in values):
            return None
        return [None if value is None else str(value) for value in values]

    def take(self, selected: np.ndarray) -> Subset:
        """Returns the samples at some positions, or where a mask bool (n,) is True."""
        positions = np.sort(np.arange(len(self))[selected])
        records = tuple(self.records[position] for position in positions)
        return Subset(self.split, self.numbers[positions], records, self.targets[positions])


@dataclass(frozen=True, eq=False)
class Subsets:
    """The subsets of a run; without `val` there is no validation, without `test` no test."""

    train: Subset
    val: Subset | None
    test: Subset | None


@dataclass(frozen=True)
class SplitRules:
    """Settings that assign samples to subsets.

    Attributes:
        val_share: Share of the training samples to validate on where there is no split for it.
        fold: Fold of the training split to test on.
        labels_per_class: Number of random training samples of each class; None takes all.
        skip_unlabelled: Leave out samples without a label instead of refusing them.
        official: Validate on the test subset, as upstream does, and train on all other samples.
        seed: Seed of everything random.
        split: Split to train on.
        val_split: Split to choose the best epoch on, where the shards have it.
        test_split: Split to test on, where the shards have it.

    Raises:
        UserError: a number out of its range, or one split in two roles.
    """

    val_share: float = 0.2
    fold: str | int | None = None
    labels_per_class: int | None = None
    skip_unlabelled: bool = False
    official: bool = False
    seed: int = 0
    split: str = "train"
    val_split: str = "val"
    test_split: str = "test"

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 0.5:
            raise UserError("val_share", f"{self.val_share} must be a share between 0 and 0.5")
        if self.labels_per_class is not None and self.labels_per_class < 1:
            raise UserError("labels_per_class", f"{self.labels_per_class} must be 1 or more")
        if len({self.split, self.val_split, self.test_split}) < 3:
            raise UserError(
                None,
                f"`split={self.split}`, `val_split={self.val_split}` and `test_split={self.test_split}` must "
                "be three splits; to validate on the test samples, as upstream does, give `official=true`",
            )


def make_subsets(
    records: Mapping[str, Sequence[TrackRecord]], reader: LabelReader, rules: SplitRules
) -> Subsets:
    """Splits the samples of a folder into subsets.

    Args:
        records: The records of the splits that the folder has, each in the order of its samples.
        reader: Reads their targets.
        rules: Assign samples to subsets.

    Raises:
        UserError: samples without a label, a class without a training sample, test samples of one class
            only, or rules that the samples cannot follow.
    """
    if rules.labels_per_class is not None and not reader.task.is_single_label:
        raise UserError("labels_per_class", f"counts classes, and `task={reader.task.name}` has none")
    train, val, test = (
        labelled_subset(split, records[split], reader, rules.skip_unlabelled) if records.get(split) else None
        for split in (rules.split, rules.val_split, rules.test_split)
    )
    if train is None:
        raise UserError("split", f"there are no samples of split {rules.split!r}: name another split")
    if rules.fold is not None:
        train, test = _split_off_fold(train, test, rules.fold)
    _check_classes(train, reader, rules.fold)
    if test is not None:
        check_test(test, reader)
    if rules.official:
        if test is None:
            raise UserError(
                "official",
                "validates on the test samples, and there are none: name a fold of the training split "
                "(`fold`) or a split (`test_split`)",
            )
        val = test
    elif val is None and rules.val_share:
        train, val = _split_off_validation(train, reader, rules)
    if rules.labels_per_class is not None:
        train = _few_per_class(train, rules.labels_per_class, reader, rules.seed)
    return Subsets(train, val, test)


def labelled_subset(
    split: str, records: Sequence[TrackRecord], reader: LabelReader, skip_unlabelled: bool
) -> Subset:
    """Returns all labelled samples of a split.

    Raises:
        UserError: samples have no label (all of them, or `skip_unlabelled` is off).
    """
    everything = Subset(split, np.arange(len(records)), tuple(records), reader.targets(records))
    missing = np.isnan(everything.targets).any(axis=1)
    if missing.all() or (missing.any() and not skip_unlabelled):
        remedy = _other_labels(everything) if missing.all() else "`skip_unlabelled=true` leaves them out"
        raise UserError(
            None,
            f"{missing.sum()} of {len(everything)} samples of split {split} have no {reader.label_kind} "
            f"(first: {everything.keys[int(missing.argmax())]}): {remedy}",
        )
    return everything.take(~missing)


def _other_labels(subset: Subset) -> str:
    """Describes the fields that could serve as labels in a split without the label that was asked for."""
    fields = [name for name in ("label_name", "votes") if subset.groups(name) is not None]
    columns = sorted({name for record in subset.records for name in record.metadata})
    names = ", ".join([*fields, *(f"column {name}" for name in columns)]) or "none of any kind"
    return f"the records have {names} (see `task`, `columns`, `soft_labels`)"


def check_test(subset: Subset, reader: LabelReader) -> None:
    """Refuses to test a classifier on a single class.

    Raises:
        UserError: all samples are of one class.
    """
    if reader.task.is_single_label and len(only := set(subset.top_classes.tolist())) == 1:
        raise UserError(
            None,
            f"all {len(subset)} test samples (split {subset.split}) are {reader.names[only.pop()]}: scores "
            "on a single class say nothing, test on other samples (`test_split`, `fold`)",
        )


def _split_off_fold(train: Subset, test: Subset | None, fold: str | int) -> tuple[Subset, Subset]:
    """Returns the training split without a fold, and the fold."""
    if test is not None:
        raise UserError(
            "fold",
            f"{fold} takes the test samples out of split {train.split}, but there is a split {test.split}: "
            "leave out `fold`, or give `test_split` another name",
        )
    in_test = in_fold(train, fold)
    if in_test.all():
        raise UserError("fold", f"{fold} is the only fold of split {train.split}: take one of several folds")
    return train.take(~in_test), train.take(in_test)


def in_fold(subset: Subset, fold: str | int) -> np.ndarray:
    """Returns which samples belong to a fold, bool (n,).

    Raises:
        UserError: none does.
    """
    folds = subset.groups("fold") or []
    selected = np.array([name == str(fold) for name in folds], dtype=bool)
    if not selected.any():
        names = ", ".join(sorted({name for name in folds if name is not None})) or "none"
        raise UserError(
            "fold", f"{fold} must be one of several folds of split {subset.split} (folds: {names})"
        )
    return selected


def folds_of(records: Iterable[TrackRecord]) -> list[str]:
    """Returns the folds that records name: numbers in their order, then other names."""
    names = {str(record.fold) for record in records if record.fold is not None}
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _check_classes(train: Subset, reader: LabelReader, fold: str | int | None) -> None:
    """Refuses classes without a training sample."""
    seen = (train.targets != 0).any(axis=0)
    absent = [name for name, learnable in zip(reader.names, seen, strict=True) if not learnable]
    if absent and reader.task.has_classes:
        without, remedy = ("", "") if fold is None else (f" without fold {fold}", ", or take another `fold`")
        text = f"split {train.split}{without} has no sample of {', '.join(absent)} to train on"
        raise UserError("columns" if reader.columns else "classes", f"{text}: leave out these{remedy}")


def _split_off_validation(train: Subset, reader: LabelReader, rules: SplitRules) -> tuple[Subset, Subset]:
    """Returns the training samples without the validation share, and that share.

    A subject, or else everything out of one source, stays on one side.
    """
    people = [
        f"source {record.source or record.key}" if record.subject is None else f"subject {record.subject}"
        for record in train.records
    ]
    seed = seed_of(rules.seed, "held-out share") % 2**32
    selected = validation_share(train.targets, people, rules.val_share, reader.task, seed)
    if selected is None:
        raise UserError(
            "val_share",
            f"{rules.val_share} of {len(train)} samples of {len(set(people))} subjects (or sources) cannot "
            "be split off so that every class stays in training: take another share, pack a split to "
            "validate on (`val_split`), or do without (0)",
        )
    return train.take(~selected), train.take(selected)


def _few_per_class(train: Subset, count: int, reader: LabelReader, seed: int) -> Subset:
    """Returns `count` samples of each class, those with the lowest hash: fewer are a subset of more."""
    drawn = np.argsort([seed_of(seed, "labels per class", key) >> 65 for key in train.keys])
    selected = []
    for number, name in enumerate(reader.names):
        of_class = drawn[train.top_classes[drawn] == number]
        if len(of_class) < count:
            raise UserError(
                "labels_per_class", f"{count} is more than the {len(of_class)} training samples of {name}"
            )
        selected.append(of_class[:count])
    return train.take(np.concatenate(selected))
