"""Corpora whose label is the folder of a clip: `<split>/<class>/<clip>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maedfer.data.corpora.reading.corpus import FACE_CROPS, RAW_CLIPS, Clips
from maedfer.data.corpora.reading.tree import find_each, find_path, list_clips
from maedfer.data.video.source import Source
from maedfer.errors import UserError


def find_classes(
    root: Path, clips: str | None, corpus: str, splits: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> Clips:
    """Collects the clips of all splits: videos of scenes, or folders of frames, which count as face crops.

    Args:
        root: The folder of the corpus.
        clips: The folder of the clips below it, if the user names one.
        corpus: Its name.
        splits: The folders that each split may have.
        classes: Names of the classes, which are the folders in any case.

    Raises:
        FileNotFoundError: no split is there.
        UserError: some clips are videos and some frames.
    """
    root = root / (clips or "")
    folders, absent = find_each(root, splits)
    sources = [
        Source(f"{corpus}/{split}/{label}/{path.stem}", str(path), label=label, split=split)
        for split, folder in folders.items()
        for label in classes
        if (place := find_path(folder, label)) is not None
        for path in list_clips(place).values()
    ]
    kinds = {Path(source.path).is_dir() for source in sources}
    if len(kinds) > 1:
        raise UserError(None, f"{corpus}: {root} has videos and folders of frames: keep one kind")
    return Clips(sources, {"folders": absent}, FACE_CROPS if True in kinds else RAW_CLIPS)
