"""CMU-MOSEI (Zadeh et al., ACL 2018): people who speak to a camera, with the sentiment of what they say.

The authors distribute features; the segmented videos are those of MMSA (`label.csv` and `Raw`). There are no
classes: the sentiment, -3 to 3, is a column of the metadata, `sentiment`, for the task `regress`. The
subject of a segment is the video it was cut from, so that a held-out share has other videos.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tables import as_number, read_table
from maedfer.data.corpora.reading.tree import list_clips, require_path
from maedfer.errors import UserError

SPLITS = {"train": "train", "valid": "val", "test": "test"}
"""The splits of the list, and here."""

COLUMNS = ("video_id", "clip_id", "label", "mode")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the segments of the list, `Raw/<video>/<number>.mp4`."""
    path = require_path(root, "label.csv")
    rows = read_table(path, COLUMNS)
    listed = [_listed(path, row) for row in rows]
    there = list_clips(require_path(root, clips or "Raw"), depth=2)
    sources, missing = match_clips("mosei", listed, there)
    return Clips(sources, {"clips": missing}, RAW_CLIPS)


def _listed(table: Path, row: dict[str, str]) -> ListedClip:
    if row["mode"] not in SPLITS:
        raise UserError(None, f"{table}: mode {row['mode']!r} is none of {', '.join(SPLITS)}")
    metadata = {"sentiment": as_number(f"{table}: label", row["label"])}
    fields = {"subject": row["video_id"], "split": SPLITS[row["mode"]], "metadata": metadata}
    return ListedClip(f"{row['video_id']}/{row['clip_id']}", None, fields)


CORPUS = Corpus(
    name="mosei",
    title="CMU-MOSEI",
    classes=(),
    sizes={},
    ask="https://github.com/thuiar/MMSA",
    terms="research only; the videos are YouTube's",
    layout="label.csv (video_id, clip_id, label, mode) and Raw/<video>/<number>.mp4, as MMSA has them",
    find=find,
    tested=False,
)
