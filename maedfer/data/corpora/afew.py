"""AFEW (Dhall et al., IEEE MultiMedia 2012; EmotiW challenges): clips of films, seven expressions.

Labels of the test clips were never published: numbers on AFEW are of its validation clips. Here these are the
split `test`, so that no epoch is selected on them.
"""

from __future__ import annotations

from functools import partial

from maedfer.data.corpora.reading.class_folders import find_classes
from maedfer.data.corpora.reading.corpus import Corpus

CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"train": ("Train_AFEW", "Train"), "test": ("Val_AFEW", "Val")}


CORPUS = Corpus(
    name="afew",
    title="AFEW",
    classes=CLASSES,
    sizes={"train": (133, 74, 81, 150, 144, 117, 74), "test": (64, 40, 46, 63, 63, 61, 46)},
    ask="https://cs.anu.edu.au/few/AFEW.html",
    terms="academic research only; a signed agreement",
    layout="Train_AFEW/<expression>/<clip>.avi and Val_AFEW/<expression>/<clip>.avi",
    find=partial(find_classes, corpus="afew", splits=SPLITS, classes=CLASSES),
    tested=False,
)
