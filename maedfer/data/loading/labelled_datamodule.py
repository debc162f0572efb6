"""Makes batches of labelled clips for fine-tuning, from training, validation and test samples.

The training plan covers the training samples only.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from maedfer.data.labels.subsets import (
    SplitRules,
    Subset,
    Subsets,
    check_test,
    folds_of,
    in_fold,
    labelled_subset,
    make_subsets,
)
from maedfer.data.labels.targets import LabelReader, label_reader, read_records
from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.datamodule import Chosen, ClipDataModule
from maedfer.data.loading.epoch_plan import EpochPlan
from maedfer.data.loading.loader import ClipLoader
from maedfer.data.loading.rand_augment import ClipAugment
from maedfer.data.loading.upstream_times import FineTuningSampler
from maedfer.data.loading.views import Crop
from maedfer.data.shards.records import TrackRecord
from maedfer.errors import UserError
from maedfer.tasks import TaskName


class LabelledDataModule(ClipDataModule):
    """Makes batches of labelled clips from a shard folder, for fine-tuning and for testing.

    Batches have `targets` float32 (B, K): one-hot or shares (`classify`), 0 or 1 (`multilabel`), or numbers
    (`regress`), one column for each of `outputs`.

    Args:
        shards: Folder with shards and `index.json`; an address, or a pattern with `{name}`, reads remote
            ones.
        task: `classify` (one class), `multilabel` (any of them) or `regress` (numbers).
        classes: Names of the classes in the order of the outputs; null takes those of the shards.
        columns: Metadata columns with a number for each output: the numbers to regress, 0 or 1 for labels,
            votes for classes. Null reads the label of the record.
        soft_labels: Classes get their shares of the votes as targets.
        skip_unlabelled: Leave out samples without a label instead of refusing them.
        fold: Fold of the training split to test on; null tests on the split for it.
        val_share: Share of the training samples to choose the best epoch on, with no subject on both sides;
            ignored where the shards have a split for it. 0 does without.
        labels_per_class: Number of random training samples of each class; null takes all.
        test_split: Split to test on, where the shards have it.
        official: Validate on the test samples, as upstream does, and train on all others.
        views: Clips of each tested sample, spread over its track.
        rand_augment_ops: Operations of RandAugment drawn for each training clip; 0 draws none.
        rand_augment_magnitude: Strength of these operations, 0 to 10.
        crop: `resized` (random area and aspect), `multi_scale` (upstream's for pre-training) or `none`.
        flip: Probability of a mirrored clip.
        **kwargs: Those of `ClipDataModule`.

    Raises:
        UserError: settings that exclude each other.
    """

    upstream_sampler = FineTuningSampler

    def __init__(
        self,
        shards: str,
        task: TaskName = "classify",
        classes: list[str | int] | None = None,
        columns: list[str] | None = None,
        soft_labels: bool = False,
        skip_unlabelled: bool = False,
        fold: str | int | None = None,
        val_share: float = 0.2,
        labels_per_class: int | None = None,
        test_split: str = "test",
        official: bool = False,
        views: int = 2,
        rand_augment_ops: int = 4,
        rand_augment_magnitude: int = 7,
        crop: Crop = "resized",
        flip: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(shards, crop=crop, flip=flip, **kwargs)
        if views < 1:
            raise UserError("views", f"{views} must be 1 or more")
        self.fold, self.views, self.official = fold, views, official
        self.task, self.classes, self.columns, self.soft_labels = task, classes, columns, soft_labels
        self.test_split = test_split
        self._rules = SplitRules(
            val_share=val_share,
            fold=fold,
            labels_per_class=labels_per_class,
            skip_unlabelled=skip_unlabelled,
            official=official,
            seed=self.seed,
            split=self.split,
            val_split=self.val_split,
            test_split=test_split,
        )
        augment = ClipAugment(rand_augment_ops, rand_augment_magnitude)
        self._augment = augment if rand_augment_ops else None
        self._whole_split: Subset | None = None

    @cached_property
    def reader(self) -> LabelReader:
        """Reads the targets of samples out of their records."""
        return label_reader(self.index, self.task, self.classes, self.columns, self.soft_labels)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the K outputs: classes, labels or quantities."""
        return self.reader.names

    @cached_property
    def subsets(self) -> Subsets:
        """The samples to train, validate and test on; reads all records, once."""
        return make_subsets(self._split_records(), self.reader, self._rules)

    def check_folds(self, folds: Sequence[str]) -> list[str]:
        """Makes the subsets of a run on each of some folds, to refuse any that cannot be run.

        Returns:
            All folds that the training split has.

        Raises:
            UserError: as for `subsets`.
        """
        records = self._split_records()
        for fold in folds:
            make_subsets(records, self.reader, replace(self._rules, fold=fold))
        return folds_of(records[self.split])

    def subset(self, name: Literal["train", "val", "test"]) -> Subset:
        """Returns the samples to train, validate or test on.

        Raises:
            UserError: there are none.
        """
        if name == "test" and self._whole_split is not None:
            return self._whole_split
        subset: Subset | None = getattr(self.subsets, name)
        if subset is None:
            remedy = "`val_split` or `val_share`" if name == "val" else "`test_split` or `fold`"
            raise UserError("shards", f"{self.shards} has no {name} samples: give {remedy}")
        return subset

    def test_on(self, split: str, fold: str | int | None = None) -> Subset:
        """Selects all labelled samples of a split, or a fold of it, as the test subset, and returns them.

        `maedfer evaluate` calls it: the split rules do not apply, and no training split is needed.

        Raises:
            UserError: the split or the fold is missing, or lacks labels, or has a single class.
        """
        subset = labelled_subset(split, self._records(split), self.reader, self._rules.skip_unlabelled)
        if fold is not None:
            subset = subset.take(in_fold(subset, fold))
        check_test(subset, self.reader)
        self._whole_split = subset
        return subset

    @cached_property
    def plan(self) -> EpochPlan:
        """The plan of the training subset."""
        return EpochPlan(self._table(self.split), self.seed, self.subsets.train.numbers)

    def test_dataloader(self) -> ClipLoader:
        """Returns `views` clips of every test sample, next to each other; `valid` marks repeats.

        A batch has as many whole samples as fit into `batch_size` clips, and one at least.

        Raises:
            UserError: there is no test subset.
        """
        subset = self.subset("test")
        return self._evaluation_loader((subset.split, subset.numbers), self.views)

    @property
    def _held_out(self) -> Chosen | None:
        val = self.subsets.val
        return None if val is None else (val.split, val.numbers)

    def _maker(self, clips_per_sample: int, training: bool) -> ClipMaker:
        maker = super()._maker(clips_per_sample, training)
        return replace(maker, labels=self.reader, augment=self._augment if training else None)

    def _split_records(self) -> dict[str, list[TrackRecord]]:
        """Returns the records of the splits that the subsets are made of."""
        splits = [self.split, *filter(self._tables.__contains__, (self.val_split, self.test_split))]
        return {split: self._records(split) for split in splits}

    def _records(self, split: str) -> list[TrackRecord]:
        return read_records(self.shards, self._table(split), self.fetcher)
