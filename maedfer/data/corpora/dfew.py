"""DFEW (Jiang et al., ACM MM 2020): clips of films, seven expressions, five folds, the votes of ten raters.

The single-labelled clips are taken at their original length. The folders of 16 time-normalised frames
(`..._16f`), with which reproductions of published numbers fall several points short, are not looked for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from maedfer.data.corpora.reading.corpus import NO_CROPS, RAW_CLIPS, Clips, Corpus, by_fold
from maedfer.data.corpora.reading.folds import ListedClip, clips_by_fold, match_clips
from maedfer.data.corpora.reading.tables import as_number, numbered_label, read_sheet, read_table
from maedfer.data.corpora.reading.tree import clip_folder, clip_key, find_each, find_path, list_clips
from maedfer.errors import UserError

CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
"""In the order of the lists' numbers 1 to 7."""

FACES = ("Clip/jpg_256", "Clip/clip_224x224", "Clip/clip_224x224_avi")
RAW = ("Clip/original",)
TEST_LIST = "EmoLabel_DataSplit/test(single-labeled)/set_{}.csv"
VOTES = "Annotation/annotation.xlsx"
NORMALISED = "these are 16 time-normalised frames of each clip: published numbers rest on all of its frames"


def find(root: Path, clips: str | None) -> Clips:
    """Collects the single-labelled clips of the five test lists."""
    paths, absent = find_each(root, {fold: (TEST_LIST.format(fold),) for fold in range(1, 6)})
    folder, crop = clip_folder(root, clips, FACES, RAW)
    lists = {fold: (path, _pairs(path)) for fold, path in paths.items()}
    votes, notes = _votes(root)
    listed = [
        replace(each, fields={**each.fields, "votes": votes.get(clip_key(each.clip))})
        for each in clips_by_fold(lists)
    ]
    _check_votes(listed)
    sources, missing = match_clips("dfew", listed, list_clips(folder))
    notes += (NO_CROPS,) if crop is RAW_CLIPS else ()
    notes += (NORMALISED,) if folder.name.lower().endswith("_16f") else ()
    return Clips(sources, {"lists": absent, "clips": missing}, crop, notes)


def _pairs(path: Path) -> list[tuple[str, str]]:
    rows = read_table(path, ("video_name", "label"))
    return [(row["video_name"].zfill(5), numbered_label(path, row["label"], CLASSES)) for row in rows]


def _votes(root: Path) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """Reads the votes of each clip, columns `1happy` to `7fear` by the number of the clip in `order`."""
    path = find_path(root, VOTES)
    if path is None:
        return {}, (f"no {VOTES}: clips have no votes for `soft_labels`",)
    votes = {}
    for row in read_sheet(path):
        columns = {name: re.match(r"([1-7])\s*[a-z]", name) for name in row}
        counts = {
            CLASSES[int(found[1]) - 1]: as_number(f"{path}, column {name}", row[name] or 0)
            for name, found in columns.items()
            if found
        }
        if len(counts) != len(CLASSES) or row.get("order") is None:
            raise UserError(
                None, f"{path} lacks the columns order, 1happy, ..., 7fear (columns: {', '.join(row)})"
            )
        votes[clip_key(str(row["order"]).removesuffix(".0"))] = counts
    return votes, ()


def _check_votes(listed: list[ListedClip]) -> None:
    """Raises a UserError for votes of other clips: the label of a clip has the most votes."""
    voted = [each for each in listed if each.fields["votes"]]
    odd = [each for each in voted if max(each.fields["votes"], key=each.fields["votes"].get) != each.label]
    if 2 * len(odd) > len(voted):
        raise UserError(
            None,
            f"in {VOTES} the most votes of {len(odd)} of {len(voted)} clips are not for their label, such as "
            f"{odd[0].clip} ({odd[0].label}): this is not the annotation of these lists",
        )


CORPUS = Corpus(
    name="dfew",
    title="DFEW",
    classes=CLASSES,
    sizes={"all": 11697} | by_fold((489, 379, 534, 435, 294, 29, 181), 2341, 2340, 2339, 2336),
    ask="https://dfew-dataset.github.io/",
    terms="academic research only; a signed agreement, the password comes by e-mail",
    layout="Clip/jpg_256 (or clip_224x224, or original; not the _16f), EmoLabel_DataSplit/"
    "test(single-labeled)/set_1.csv to set_5.csv, and Annotation/annotation.xlsx for votes",
    find=find,
)
