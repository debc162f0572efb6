"""CREMA-D (Cao et al., IEEE TAC 2014): 91 actors speak twelve sentences in six emotions.

The five folds are those that MAE-DFER tests on: actors 1001 to 1018, 1019 to 1036, 1037 to 1054, 1055 to
1072, 1073 to 1091. File names are `actor_sentence_EMOTION_intensity`.
"""

from __future__ import annotations

import re
from pathlib import Path

from maedfer.data.corpora.reading.corpus import Clips, Corpus, by_fold
from maedfer.data.corpora.reading.tree import clip_folder, clip_key, list_clips
from maedfer.data.video.source import Source

CLASSES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
ACTORS = range(1001, 1092)
ACTORS_PER_FOLD, FOLDS = 18, 5
NAME = re.compile(r"(\d{4})_([a-z]{3})_([a-z]{3})_(lo|md|hi|xx?)")
"""One clip (1040_ITH_SAD_X) has a single X."""

FACES = ("face_aligned", "openface")
RAW = ("VideoFlash",)


def find(root: Path, clips: str | None) -> Clips:
    """Collects all clips, as aligned frames or as the authors' videos (`VideoFlash/*.flv` or others)."""
    folder, crop = clip_folder(root, clips, FACES, RAW)
    named = {key: path for key, path in list_clips(folder).items() if NAME.fullmatch(key)}
    sources = [_source(key, path) for key, path in named.items()]
    known = {source.subject for source in sources}
    absent = [f"all of {name}" for name in map(_subject, ACTORS) if name not in known]
    # OpenFace leaves an empty folder where it finds no face
    keys = {clip_key(path.stem): path.name for path in sorted(folder.iterdir())}
    empty = [name for key, name in keys.items() if NAME.fullmatch(key) and key not in named]
    return Clips(sources, {"clips": empty + absent}, crop)


def _source(key: str, path: Path) -> Source:
    actor, sentence, emotion, intensity = key.upper().split("_")
    number = int(actor) - ACTORS.start
    return Source(
        f"cremad/{key.upper()}",
        str(path),
        label=emotion,
        fold=min(number // ACTORS_PER_FOLD, FOLDS - 1) + 1,
        subject=_subject(int(actor)),
        metadata={"intensity": intensity, "sentence": sentence},
    )


def _subject(actor: int) -> str:
    return f"actor {actor}"


CORPUS = Corpus(
    name="cremad",
    title="CREMA-D",
    classes=CLASSES,
    sizes={"all": (1271, 1271, 1271, 1271, 1087, 1271)} | by_fold(1463, 1470, 1476, 1476, 1557),
    ask="https://github.com/CheyneyComputerScience/CREMA-D",
    terms="Open Database License; free download (git LFS)",
    layout="VideoFlash/<clip>.flv, or face_aligned/<clip>/ with OpenFace's aligned frames of them",
    find=find,
)
