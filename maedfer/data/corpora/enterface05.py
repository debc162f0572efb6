"""eNTERFACE'05 (Martin et al., ICDEW 2006): 43 subjects react with six emotions, five sentences each.

The five folds are those that MAE-DFER tests on: subjects 1 to 10 (there are no single clips of subject 6), 11
to 19, 20 to 28, 29 to 37, 38 to 44. Labels come from the folders of a
clip (`subject 1/anger/sentence 1/s1_an_1.avi`): some file names are swapped or misspelt.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from maedfer.data.corpora.reading.corpus import FACE_CROPS, Clips, Corpus, by_fold
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tree import clip_folder, clip_key, list_clips

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
LAST_OF_FOLD = (10, 19, 28, 37, 44)
WITHOUT_CLIPS = 6
NEVER_MADE = {(23, "happiness", sentence) for sentence in (1, 2, 3)}
"""Subject 23 has two happy clips."""

PLACE = re.compile(r"(?:^|/)subject[ _-]?(\d+)/([a-z]+)/sentence[ _-]?(\d+)(?:/|$)")
FACES = ("face_aligned", "openface")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips of all sentences, as aligned frames or as the authors' videos."""
    folder, crop = clip_folder(root, clips, FACES, (".",))
    found: dict[str, Path] = {}
    for key, path in list_clips(folder, depth=4, frames=crop is FACE_CROPS).items():
        place = PLACE.search(key)
        if place is not None:
            found.setdefault(clip_key(*_name(*place.groups()).split("/")), path)
    sources, missing = match_clips("enterface05", _expected(), found)
    return Clips(sources, {"clips": missing}, crop)


def _expected() -> list[ListedClip]:
    return [
        ListedClip(
            _name(subject, emotion, sentence),
            emotion,
            {"fold": _fold(subject), "subject": f"subject {subject}"},
        )
        for subject, emotion, sentence in product(range(1, 45), CLASSES, range(1, 6))
        if subject != WITHOUT_CLIPS and (subject, emotion, sentence) not in NEVER_MADE
    ]


def _name(subject: int | str, emotion: str, sentence: int | str) -> str:
    return f"subject_{int(subject)}/{emotion}/sentence_{int(sentence)}"


def _fold(subject: int) -> int:
    return next(fold for fold, last in enumerate(LAST_OF_FOLD, 1) if subject <= last)


ALL = (45,) * 6
"""Nine subjects with five sentences of each class."""

CORPUS = Corpus(
    name="enterface05",
    title="eNTERFACE'05",
    classes=CLASSES,
    sizes={"all": 1287} | by_fold(ALL, ALL, (45, 45, 45, 42, 45, 45), ALL, (35,) * 6),
    ask="https://enterface.net/enterface05/",
    terms="free download for research",
    layout="subject 1 to subject 44 with <emotion>/sentence <n>/<clip>.avi, or the same below face_aligned "
    "with folders of OpenFace's aligned frames",
    find=find,
)
