"""CAER (Lee et al., ICCV 2019): clips of television series, seven expressions, three splits."""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.class_folders import find_classes
from maedfer.data.corpora.reading.corpus import Clips, Corpus

CLASSES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}


def find(root: Path, clips: str | None) -> Clips:
    """Collects the videos `train/<expression>/<clip>.avi`, and those of the other splits."""
    return find_classes(root if clips is None else root / clips, "caer", SPLITS, CLASSES)


CORPUS = Corpus(
    name="caer",
    title="CAER",
    classes=CLASSES,
    sizes={"all": 13201},
    ask="https://caer-dataset.github.io/",
    terms="research only; download from its page",
    layout="train, validation and test, each with <expression>/<clip>.avi",
    find=find,
    tested=False,
)
