"""Corpora whose label is the folder of a clip: `<split>/<class>/<clip>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maedfer.data.corpora.corpus import FACE_CROPS, RAW_CLIPS, Clips
from maedfer.data.corpora.tree import find_path, list_clips
from maedfer.data.video.source import Source


def find_classes(
    root: Path, corpus: str, splits: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> Clips:
    """The clips of all splits: videos of scenes, or folders of frames, which are taken for face crops.

    Args:
        root: The corpus.
        corpus: Its name.
        splits: Of each split the folders it may be.
        classes: Names of the classes, which are the folders in any case.

    Raises:
        FileNotFoundError: there is none of the splits.
        ValueError: some clips are videos and some frames.
    """
    folders = {split: find_path(root, *names) for split, names in splits.items()}
    absent = [names[0] for split, names in splits.items() if folders[split] is None]
    if len(absent) == len(splits):
        raise FileNotFoundError(f"{root} has no {' or '.join(absent)}")
    sources = [
        source
        for split, folder in folders.items()
        if folder is not None
        for source in _of_split(corpus, split, folder, classes)
    ]
    kinds = {Path(source.path).is_dir() for source in sources}
    if len(kinds) > 1:
        raise ValueError(f"--corpus {corpus}: {root} has videos and folders of frames: keep one kind")
    return Clips(sources, {"folders": absent}, FACE_CROPS if True in kinds else RAW_CLIPS)


def _of_split(corpus: str, split: str, folder: Path, classes: Sequence[str]) -> list[Source]:
    places = [(label, find_path(folder, label)) for label in classes]
    return [
        Source(f"{corpus}/{split}/{label}/{path.stem}", str(path), label=label, split=split)
        for label, place in places
        if place is not None
        for path in list_clips(place).values()
    ]
