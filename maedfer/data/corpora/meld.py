"""MELD (Poria et al., ACL 2019): utterances of a television series, seven emotions, three splits.

The speaker is kept as metadata, not as the subject: the same six people speak in all splits.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tables import as_label, read_table
from maedfer.data.corpora.reading.tree import find_each, find_path, list_clips

CLASSES = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SPLITS = {
    "train": ("train", "train_splits"),
    "val": ("dev", "dev_splits_complete"),
    "test": ("test", "output_repeated_splits_test"),
}
"""The name of the list of each split, and the folder of its clips."""

COLUMNS = ("speaker", "emotion", "dialogue_id", "utterance_id")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips of the three lists, `dia<n>_utt<n>.mp4`."""
    lists = {
        split: (f"{name}_sent_emo.csv", f"{name}/{name}_sent_emo.csv") for split, (name, _) in SPLITS.items()
    }
    tables, absent = find_each(root, lists)
    there: dict[str, Path] = {}
    for split in tables:
        name, folder = SPLITS[split]
        place = find_path(root / (clips or ""), f"{name}/{folder}", folder)
        if place is not None:
            there |= {f"{split}/{key}": path for key, path in list_clips(place).items()}
    listed = [clip for split, table in tables.items() for clip in _listed(table, split)]
    sources, missing = match_clips("meld", listed, there)
    return Clips(sources, {"lists": absent, "clips": missing}, RAW_CLIPS)


def _listed(table: Path, split: str) -> list[ListedClip]:
    return [
        ListedClip(
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
    tested=False,
)
