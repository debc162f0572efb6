"""CMU-MOSEI (Zadeh et al., ACL 2018): people who speak to a camera, with the sentiment of what they say.

The authors distribute features; the segmented videos are those of MMSA (`label.csv` and `Raw`). There are no
classes: the sentiment, -3 to 3, is a column of the metadata, `sentiment`, for the task `regress`. The
subject of a segment is the video it was cut from, so that a held-out share has other videos.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.reading.tables import read_table
from maedfer.data.corpora.reading.tree import clip_key, list_clips, require_path
from maedfer.data.video.source import Source
from maedfer.errors import UserError

SPLITS = {"train": "train", "valid": "val", "test": "test"}
"""The splits of the list, and here."""

COLUMNS = ("video_id", "clip_id", "label", "mode")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the segments of the list, `Raw/<video>/<number>.mp4`."""
    path = require_path(root, "label.csv")
    rows = read_table(path, COLUMNS)
    there = list_clips(require_path(root, clips or "Raw"), depth=2)
    pairs = [(row, there.get(clip_key(row["video_id"], row["clip_id"]))) for row in rows]
    sources = [_source(path, row, place) for row, place in pairs if place is not None]
    missing = [f"{row['video_id']}/{row['clip_id']}" for row, place in pairs if place is None]
    return Clips(sources, {"clips": missing}, RAW_CLIPS)


def _source(table: Path, row: dict[str, str], place: Path) -> Source:
    if row["mode"] not in SPLITS:
        raise UserError(None, f"{table}: mode {row['mode']!r} is none of {', '.join(SPLITS)}")
    try:
        sentiment = float(row["label"])
    except ValueError as error:
        raise UserError(None, f"{table}: label {row['label']!r} is not a number") from error
    name = f"mosei/{row['video_id']}/{row['clip_id']}"
    split, metadata = SPLITS[row["mode"]], {"sentiment": sentiment}
    return Source(name, str(place), subject=row["video_id"], split=split, metadata=metadata)


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
