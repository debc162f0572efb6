"""AFEW (Dhall et al., IEEE MultiMedia 2012; EmotiW challenges): clips of films, seven expressions.

Labels of the test clips were never published: numbers on AFEW are of its validation clips. Here these are the
split `test`, so that no epoch is selected on them.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.class_folders import find_classes
from maedfer.data.corpora.reading.corpus import Clips, Corpus

CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"train": ("Train_AFEW", "Train"), "test": ("Val_AFEW", "Val")}


def find(root: Path, clips: str | None) -> Clips:
    """Collects the videos `Train_AFEW/<expression>/<clip>.avi` (or folders of face frames in their place)."""
    return find_classes(root if clips is None else root / clips, "afew", SPLITS, CLASSES)


CORPUS = Corpus(
    name="afew",
    title="AFEW",
    classes=CLASSES,
    sizes={"train": (133, 74, 81, 150, 144, 117, 74), "test": (64, 40, 46, 63, 63, 61, 46)},
    ask="https://cs.anu.edu.au/few/AFEW.html",
    terms="academic research only; a signed agreement",
    layout="Train_AFEW/<expression>/<clip>.avi and Val_AFEW/<expression>/<clip>.avi",
    find=find,
    tested=False,
)
