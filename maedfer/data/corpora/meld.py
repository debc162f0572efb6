"""MELD (Poria et al., ACL 2019): utterances of a television series, seven emotions, three splits.

The speaker is kept as metadata and is no subject: the same six people speak in all splits.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.folds import Listed, matched
from maedfer.data.corpora.tables import as_label, read_table
from maedfer.data.corpora.tree import find_path, list_clips

CLASSES = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SPLITS = {
    "train": ("train", "train_splits"),
    "val": ("dev", "dev_splits_complete"),
    "test": ("test", "output_repeated_splits_test"),
}
"""Of each split the name its list has, and the folder of its clips."""

COLUMNS = ("speaker", "emotion", "dialogue_id", "utterance_id")


def find(root: Path, clips: str | None) -> Clips:
    """The clips of the three lists, `dia<n>_utt<n>.mp4`."""
    sources, absent, missing = [], [], []
    for split, (name, folder) in SPLITS.items():
        table = find_path(root, f"{name}_sent_emo.csv", f"{name}/{name}_sent_emo.csv")
        if table is None:
            absent.append(f"{name}_sent_emo.csv")
            continue
        place = find_path(root if clips is None else root / clips, f"{name}/{folder}", folder)
        there, gone = matched("meld", _listed(table, split), {} if place is None else _clips(place, split))
        sources, missing = sources + there, missing + gone
    if len(absent) == len(SPLITS):
        raise FileNotFoundError(f"{root} has no {', '.join(absent)}")
    return Clips(sources, {"lists": absent, "clips": missing}, RAW_CLIPS)


def _clips(place: Path, split: str) -> dict[str, Path]:
    return {f"{split}/{key}": path for key, path in list_clips(place).items()}


def _listed(table: Path, split: str) -> list[Listed]:
    return [
        Listed(
            f"{split}/dia{row['dialogue_id']}_utt{row['utterance_id']}",
            as_label(table, row["emotion"], CLASSES),
            {"split": split, "metadata": {"speaker": row["speaker"]}},
        )
        for row in read_table(table, COLUMNS)
    ]


CORPUS = Corpus(
    name="meld",
    title="MELD",
    classes=CLASSES,
    sizes={"train": 9989, "val": 1109, "test": 2610},
    ask="https://github.com/declare-lab/MELD",
    terms="GPL-3.0 for the annotation; the clips are of a television series, for research",
    layout="train_sent_emo.csv with train/train_splits/*.mp4, dev_sent_emo.csv with "
    "dev/dev_splits_complete/*.mp4, and test_sent_emo.csv with test/output_repeated_splits_test/*.mp4",
    find=find,
)
