"""Records which samples a classifier was trained on, so that an evaluation on the same samples warns.

A fold of the training split is a fair test only of the model that was trained without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.data.shards.format import ShardIndex
from maedfer.data.shards.table import ShardTable
from maedfer.evaluation.published import corpus_of


def trained_on(data: LabelledDataModule) -> dict[str, Any]:
    """Returns the split that a run trains on, a fingerprint of its shards, and the fold that is left out."""
    fold = None if data.fold is None else str(data.fold)
    return {"split": data.split, "fold": fold, "shards": _fingerprint(data.index, data.split)}


def was_trained_on(
    provenance: Mapping[str, Any], index: ShardIndex, split: str, fold: str | int | None
) -> bool:
    """Checks whether a model was trained on test samples: the same shards, or the same corpus packed anew.

    Args:
        provenance: provenance of the model; False if it does not record its training samples.
        index: index of the test shards.
        split: test split.
        fold: test fold of the split; None for the whole split.
    """
    seen = provenance.get("trained_on")
    if not seen or seen["split"] != split:
        return False
    corpus = corpus_of(index.made_by)
    same_corpus = corpus is not None and corpus == corpus_of(provenance.get("shards_made_by") or {})
    if not same_corpus and seen["shards"] != _fingerprint(index, split):
        return False
    return fold is None or seen["fold"] != str(fold)


def _fingerprint(index: ShardIndex, split: str) -> str:
    return ShardTable.of(index.of_split(split)).fingerprint
