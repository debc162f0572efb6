"""The data module of fine-tuning: labelled clips, parted into those that train, choose the epoch, and test.

Everything of `ClipDataModule` holds here too (one plan, exact resume, views on the device); the training
plan covers the chosen samples only.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from maedfer.data.labels.subsets import (
    Part,
    PartRules,
    Parts,
    check_test,
    folds_of,
    in_fold,
    make_parts,
    whole_part,
)
from maedfer.data.labels.targets import LabelReader, label_reader, read_records
from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.datamodule import Chosen, ClipDataModule
from maedfer.data.loading.epoch_plan import EpochPlan
from maedfer.data.loading.loader import ClipLoader
from maedfer.data.loading.rand_augment import ClipAugment
from maedfer.data.loading.upstream_draws import SharedDraws
from maedfer.data.loading.upstream_times import FineTuningTime
from maedfer.data.loading.views import Crop, ViewSpec
from maedfer.data.shards.records import TrackRecord
from maedfer.tasks import TaskName
from maedfer.upstream import Behaviour, mimics_upstream


class LabelledDataModule(ClipDataModule):
    """Batches of labelled clips from a shard folder, for fine-tuning and for testing.

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
            where the shards have a split for it, that is taken. 0 holds nothing out.
        labels_per_class: Train on so many random samples of each class; null takes all.
        test_split: Split to test on, where the shards have it.
        official: Validate on the test part, as upstream does, and train on all the rest.
        views: Clips of each tested sample, spread over its track.
        rand_augment_ops: Operations of RandAugment drawn for each training clip; 0 draws none.
        rand_augment_magnitude: Their strength, 0 to 10.
        draws: `correct`, or `official` for upstream's workers, whose n-th clips all start, flip and take
            operations alike.
        crop: `resized` (random area and aspect), `multi_scale` (upstream's for pre-training) or `none`.
        flip: Probability of a mirrored clip.
        **kwargs: Those of `ClipDataModule`.

    Raises:
        ValueError: settings that exclude each other.
    """

    official_time = FineTuningTime

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
        draws: Behaviour = "correct",
        crop: Crop = "resized",
        flip: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(shards, crop=crop, flip=flip, **kwargs)
        if views < 1:
            raise ValueError(f"--data.views {views} must be 1 or more")
        self._draws_alike, self.fold = mimics_upstream("draws", draws), fold
        self.task, self.classes, self.columns, self.soft_labels = task, classes, columns, soft_labels
        self.test_split, self.official, self.views = test_split, official, views
        self._rules = PartRules(
            *(val_share, fold, labels_per_class, skip_unlabelled, official, self.seed),
            *(self.split, self.val_split, test_split),
        )
        augment = ClipAugment(rand_augment_ops, rand_augment_magnitude)
        self._augment = augment if rand_augment_ops else None
        self._whole: Part | None = None

    @cached_property
    def reader(self) -> LabelReader:
        """Reads the targets of samples out of their records."""
        return label_reader(self.index, self.task, self.classes, self.columns, self.soft_labels)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the K outputs: classes, labels or quantities."""
        return self.reader.names

    @cached_property
    def parts(self) -> Parts:
        """Which samples train, choose the epoch and test; all records are read for it, once."""
        return make_parts(self._split_records(), self.reader, self._rules)

    def check_folds(self, folds: Sequence[str]) -> list[str]:
        """Make the parts of a run on each of some folds, to refuse what one of them would refuse.

        Returns:
            All folds that the training split has.

        Raises:
            ValueError: as for `parts`.
        """
        records = self._split_records()
        for fold in folds:
            make_parts(records, self.reader, replace(self._rules, fold=fold))
        return folds_of(records[self.split])

    def part_of(self, name: Literal["train", "val", "test"]) -> Part:
        """The samples of a part.

        Raises:
            ValueError: there is no such part.
        """
        part = self._whole if name == "test" and self._whole is not None else getattr(self.parts, name)
        if part is None:
            flags = {
                "val": "--data.val_split or --data.val_share",
                "test": "--data.test_split or --data.fold",
            }
            raise ValueError(f"--data.shards {self.shards} has no {name} part: give {flags[name]}")
        return part

    def test_on(self, split: str, fold: str | int | None = None) -> Part:
        """Test on all labelled samples of a split, or a fold of it, whatever the rules: `maedfer evaluate`
        asks for it.

        Nothing is parted then, so a folder without a training split will do.

        Raises:
            ValueError: the split or the fold is missing, or lacks labels, or has a single class.
        """
        self._whole = whole_part(split, self._records(split), self.reader, self._rules.skip_unlabelled)
        if fold is not None:
            self._whole = self._whole.only(in_fold(self._whole, fold))
        check_test(self._whole, self.reader)
        return self._whole

    @cached_property
    def plan(self) -> EpochPlan:
        """The plan of the training part."""
        return EpochPlan(self._table(self.split), self.seed, self.parts.train.numbers)

    def test_dataloader(self) -> ClipLoader:
        """`views` clips of every test sample, next to each other; `valid` marks repeats.

        A batch has as many whole samples as fit into `batch_size` clips, and one at least.

        Raises:
            ValueError: there is no test part.
        """
        part = self.part_of("test")
        return self._evaluation_loader((part.split, part.numbers), self.views)

    @property
    def _held_out(self) -> Chosen | None:
        val = self.parts.val
        return None if val is None else (val.split, val.numbers)

    def _maker(self, views: ViewSpec, clips_per_sample: int, training: bool) -> ClipMaker:
        maker = super()._maker(views, clips_per_sample, training)
        if not training:
            return replace(maker, labels=self.reader)
        shared = SharedDraws(self.ranks[0], max(1, self.workers)) if self._draws_alike else None
        return replace(maker, labels=self.reader, augment=self._augment, shared=shared)

    def _split_records(self) -> dict[str, list[TrackRecord]]:
        """The records of the splits to part."""
        splits = [self.split, *filter(self._tables.__contains__, (self.val_split, self.test_split))]
        return {split: self._records(split) for split in splits}

    def _records(self, split: str) -> list[TrackRecord]:
        return read_records(self.shards, self._table(split), self.fetcher)
