"""RAVDESS (Livingstone and Russo, PLOS ONE 2018): 24 actors speak two sentences in eight emotions.

The 1,440 spoken clips without sound (`02-01-...`) are taken, in the six folds of four actors each that
MAE-DFER tests on. A file name is modality, channel, emotion, intensity, statement, repetition, actor.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from maedfer.data.corpora.reading.corpus import FACE_CROPS, Clips, Corpus, by_fold
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tree import clip_folder, list_clips

CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""In the order of the emotion codes 01 to 08."""

INTENSITIES = {1: "normal", 2: "strong"}
ACTORS_PER_FOLD = 4
FACES = ("face_aligned", "openface")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the spoken clips of all actors, as aligned frames or as the authors' videos."""
    folder, crop = clip_folder(root, clips, FACES, (".",))
    sources, missing = match_clips("ravdess", _expected(), list_clips(folder, frames=crop is FACE_CROPS))
    return Clips(sources, {"clips": missing}, crop)


def _expected() -> Iterator[ListedClip]:
    """Yields every clip; calm to surprised in two intensities, neutral in one."""
    for actor, emotion in product(range(1, 25), range(1, 9)):
        for intensity, statement, repetition in product((1, 2) if emotion > 1 else (1,), (1, 2), (1, 2)):
            code = (2, 1, emotion, intensity, statement, repetition, actor)
            yield ListedClip(
                "-".join(f"{number:02d}" for number in code),
                CLASSES[emotion - 1],
                {
                    "fold": (actor - 1) // ACTORS_PER_FOLD + 1,
                    "subject": f"actor {actor}",
                    "metadata": {"intensity": INTENSITIES[intensity], "statement": statement},
                },
            )


PER_FOLD = (16, 32, 32, 32, 32, 32, 32, 32)

CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS",
    classes=CLASSES,
    sizes={"all": 1440} | by_fold(*[PER_FOLD] * 6),
    ask="https://zenodo.org/records/1188976",
    terms="CC BY-NC-SA 4.0; free download, commercial licences are sold",
    layout="Actor_01 to Actor_24 with the videos 02-01-*.mp4 (of Video_Speech_Actor_*.zip), or "
    "face_aligned/Actor_01/<name>/ with OpenFace's aligned frames of them",
    find=find,
)
