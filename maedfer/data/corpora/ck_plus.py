"""CK+ (Lucey et al., CVPRW 2010): posed expressions from neutral to their peak, as images of the whole head.

Only the 327 sequences with an emotion label are taken. There are no official folds: people are dealt to ten
folds in the order of their numbers, so that no person is in two folds, as is usual.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.corpus import RAW_CLIPS, Clips, Corpus
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tables import as_number, numbered_label
from maedfer.data.corpora.reading.tree import list_clips, require_path

CLASSES = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
"""In the order of the codes 1 to 7."""

FOLDS = 10


def find(root: Path, clips: str | None) -> Clips:
    """Collects the sequences with a label, the number in `Emotion/S005/001/S005_001_00000011_emotion.txt`."""
    labels = sorted(require_path(root, "Emotion", "Emotion_labels").glob("**/*_emotion.txt"))
    labelled = {tuple(path.name.split("_")[:2]): path for path in labels if not path.name.startswith(".")}
    people = sorted({person for person, _ in labelled})
    listed = [
        ListedClip(
            f"{person}/{sequence}",
            numbered_label(path, f"{as_number(str(path), path.read_text(errors='replace')):g}", CLASSES),
            {"subject": person, "fold": people.index(person) % FOLDS + 1},
        )
        for (person, sequence), path in sorted(labelled.items())
    ]
    folder = require_path(root, clips or "cohn-kanade-images")
    sources, missing = match_clips("ck_plus", listed, list_clips(folder, depth=2))
    return Clips(sources, {"sequences": missing}, RAW_CLIPS)


CORPUS = Corpus(
    name="ck_plus",
    title="CK+",
    classes=CLASSES,
    sizes={"all": (45, 18, 59, 25, 69, 28, 83)},
    ask="https://www.jeffcohn.net/Resources/",
    terms="non-commercial research; a signed agreement",
    layout="cohn-kanade-images/<person>/<sequence>/*.png and Emotion/<person>/<sequence>/*_emotion.txt",
    find=find,
    tested=False,
)
