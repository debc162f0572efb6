"""What a classifier says it was trained on, and which folds and splits are still a test of it."""

from dataclasses import replace

import pytest

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.data.shards.format import read_index
from maedfer.training.finetuning.trained_on import trained_on, was_trained_on


@pytest.mark.parametrize(
    ("left_out", "split", "fold", "seen"),
    [
        (2, "train", 2, False),
        ("2", "train", 2, False),
        (2, "train", "1", True),
        (2, "train", None, True),
        (None, "train", 1, True),
        (None, "train", None, True),
        (None, "val", None, False),
        (2, "val", "2", False),
    ],
)
def test_the_fold_left_out_and_other_splits_are_a_test(synthetic_shards, left_out, split, fold, seen):
    data = LabelledDataModule(str(synthetic_shards), fold=left_out)
    provenance = {"trained_on": trained_on(data), "shards_made_by": {}}
    assert was_trained_on(provenance, data.index, split, fold) is seen
    assert not was_trained_on({}, data.index, split, fold)


def test_other_shards_are_a_test_unless_they_are_of_the_same_corpus(synthetic_shards):
    index = read_index(synthetic_shards)
    packed_anew = replace(index, shards=tuple(replace(entry, sha256="0" * 64) for entry in index.shards))
    provenance = {"trained_on": trained_on(LabelledDataModule(str(synthetic_shards)))}
    assert was_trained_on(provenance, index, "train", None)
    assert not was_trained_on(provenance, packed_anew, "train", None)
    dfew, mafw = ({"settings": {"corpus": name}} for name in ("dfew", "mafw"))
    provenance["shards_made_by"] = dfew
    assert was_trained_on(provenance, replace(packed_anew, made_by=dfew), "train", 3)
    assert not was_trained_on(provenance, replace(packed_anew, made_by=mafw), "train", 3)
