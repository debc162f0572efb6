"""CK+ (Lucey et al., CVPRW 2010): posed expressions from neutral to their peak, as images of the whole head.

Taken are the 327 sequences that have an emotion label. There are no official folds: these are ten without a
person on both sides, as is usual, the people dealt to them in the order of their numbers.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.folds import Listed, matched
from maedfer.data.corpora.tables import numbered_label
from maedfer.data.corpora.tree import list_clips, need_path

CLASSES = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
"""In the order of the codes 1 to 7."""

FOLDS = 10


def find(root: Path, clips: str | None) -> Clips:
    """The labelled sequences; a label is a file `Emotion/S005/001/S005_001_00000011_emotion.txt`."""
    labels = sorted(need_path(root, "Emotion", "Emotion_labels").glob("**/*_emotion.txt"))
    labelled = {tuple(path.name.split("_")[:2]): path for path in labels if not path.name.startswith(".")}
    people = sorted({person for person, _ in labelled})
    listed = [
        Listed(
            f"{person}/{sequence}",
            numbered_label(path, _code(path), CLASSES),
            {"subject": person, "fold": people.index(person) % FOLDS + 1},
        )
        for (person, sequence), path in sorted(labelled.items())
    ]
    folder = need_path(root, clips or "cohn-kanade-images")
    sources, missing = matched("ck_plus", listed, list_clips(folder, depth=2))
    return Clips(sources, {"sequences": missing}, RAW_CLIPS)


def _code(path: Path) -> str:
    """The number in a label file, such as `   3.0000000e+00`."""
    text = path.read_text(errors="replace").strip()
    try:
        return str(int(float(text)))
    except ValueError as error:
        raise ValueError(f"{path}: {text!r} is not a label") from error


CORPUS = Corpus(
    name="ck_plus",
    title="CK+",
    classes=CLASSES,
    sizes={"all": (45, 18, 59, 25, 69, 28, 83)},
    ask="https://www.jeffcohn.net/Resources/",
    terms="non-commercial research; a signed agreement",
    layout="cohn-kanade-images/<person>/<sequence>/*.png and Emotion/<person>/<sequence>/*_emotion.txt",
    find=find,
)
