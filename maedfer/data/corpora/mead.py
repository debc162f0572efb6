"""MEAD (Wang et al., ECCV 2020): actors speak in eight emotions at three intensities, seen from seven sides.

Only the frontal view is taken. There are no official folds for recognition; the subject of a clip is
its actor, so that a held-out share has other actors.
"""

from __future__ import annotations

import re
from pathlib import Path

from maedfer.data.corpora.reading.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.reading.tree import list_clips
from maedfer.data.video.source import Source
from maedfer.errors import UserError

CLASSES = ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
PLACE = re.compile(r"([mw]\d+)/video/front/([a-z]+)/level_(\d)/([^/]+)")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips `<actor>/video/front/<emotion>/level_<n>/<number>.mp4`."""
    places = list_clips(root / (clips or ""), depth=6)
    found = [(PLACE.fullmatch(key), path) for key, path in places.items()]
    return Clips([_source(place, path) for place, path in found if place], {}, RAW_CLIPS)


def _source(place: re.Match[str], path: Path) -> Source:
    actor, emotion, level, number = place[1].upper(), place[2], int(place[3]), path.stem
    if emotion not in CLASSES:
        raise UserError(None, f"mead: the class of {path} is none of {', '.join(CLASSES)}")
    name = f"mead/{actor}/{emotion}/level_{level}/{number}"
    return Source(name, str(path), label=emotion, subject=actor, metadata={"intensity": level})


CORPUS = Corpus(
    name="mead",
    title="MEAD",
    classes=CLASSES,
    sizes={},
    ask="https://wywu.github.io/projects/MEAD/MEAD.html",
    terms="research only",
    layout="<actor>/video/front/<emotion>/level_<n>/<number>.mp4",
    find=find,
    tested=False,
)
