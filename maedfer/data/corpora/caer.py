"""CAER (Lee et al., ICCV 2019): clips of television series, seven expressions, three splits."""

from __future__ import annotations

from functools import partial

from maedfer.data.corpora.reading.class_folders import find_classes
from maedfer.data.corpora.reading.corpus import Corpus

CLASSES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}


CORPUS = Corpus(
    name="caer",
    title="CAER",
    classes=CLASSES,
    sizes={"all": 13201},
    ask="https://caer-dataset.github.io/",
    terms="research only; download from its page",
    layout="train, validation and test, each with <expression>/<clip>.avi",
    find=partial(find_classes, corpus="caer", splits=SPLITS, classes=CLASSES),
    tested=False,
)
