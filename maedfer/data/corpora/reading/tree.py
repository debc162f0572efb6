"""Finds things in the folder of a corpus: in any case, one level deeper than expected, as frames or as
videos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from maedfer.data.corpora.reading.corpus import FACE_CROPS, RAW_CLIPS
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.video.image_folder import is_frame
from maedfer.data.video.source import is_video

K = TypeVar("K")

ALIGNED = "_aligned"
"""OpenFace writes the aligned frames of `a.mp4` to `a_aligned`."""


def find_path(root: Path, *names: str) -> Path | None:
    """Returns the first of some relative paths that exists below a folder, or below a folder in it.

    Case does not matter. The level below is searched too, as archives often unpack into their own folder.
    """
    for name in names:
        for start in (root, *_folders(root)):
            if (found := _descend(start, Path(name).parts)) is not None:
                return found
    return None


def require_path(root: Path, *names: str) -> Path:
    """Returns what `find_path` does.

    Raises:
        FileNotFoundError: none of the paths exists.
    """
    found = find_path(root, *names)
    if found is None:
        raise FileNotFoundError(f"{root} has no {' or '.join(names)}")
    return found


def find_each(root: Path, names: Mapping[K, Sequence[str]]) -> tuple[dict[K, Path], list[str]]:
    """Finds several things (see `find_path`), of which some may be missing.

    Args:
        root: The folder of the corpus.
        names: Relative paths that each may have.

    Returns:
        The path of each that is there, and the first name of each that is missing.

    Raises:
        FileNotFoundError: none is there.
    """
    found = {key: path for key, each in names.items() if (path := find_path(root, *each)) is not None}
    absent = [each[0] for key, each in names.items() if key not in found]
    if not found:
        raise FileNotFoundError(f"{root} has no {absent[0]}")
    return found, absent


def clip_folder(
    root: Path, clips: str | None, faces: Sequence[str], raw: Sequence[str] = ()
) -> tuple[Path, CropSettings]:
    """Returns the folder of the clips, and how they are cropped.

    Args:
        root: The folder of the corpus.
        clips: The folder that the user names, relative to the corpus or to the working directory; None
            searches for one.
        faces: Folders that may hold clips cropped to the face, best first.
        raw: Folders that may hold clips of whole scenes, if there are no others.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if clips is not None:
        folder = find_path(root, clips) or Path(clips)
        if not folder.is_dir():
            raise FileNotFoundError(f"`clips` {clips} is not a folder in {root}")
        scenes = any(find_path(root, name) == folder for name in raw)
        cropped = not scenes and (
            any(find_path(root, name) == folder for name in faces) or _of_frames(folder)
        )
        return folder, FACE_CROPS if cropped else RAW_CLIPS
    for names, crop in ((faces, FACE_CROPS), (raw, RAW_CLIPS)):
        for name in names:
            found = find_path(root, name)
            if found is not None and found.is_dir() and any(found.iterdir()):
                return found, crop
    raise FileNotFoundError(f"{root} has none of {', '.join((*faces, *raw))} (another folder: `clips`)")


def list_clips(folder: Path, depth: int = 1, frames: bool = True) -> dict[str, Path]:
    """Lists all clips below a folder: videos, and folders of frames, which win where there are both.

    Args:
        folder: Searched at any depth.
        depth: Parts of the path, from its end, that make the key of a clip.
        frames: False for videos only.

    Returns:
        Key (see `clip_key`) and path of each, sorted by path.
    """
    found: dict[str, Path] = {}
    for here, names in _walk(folder.absolute()):
        parts = here.relative_to(folder.absolute()).parts
        for name in sorted(filter(is_video, names)):
            key = clip_key(*(*parts, os.path.splitext(name)[0])[-depth:])
            found.setdefault(key, here / name)
        if frames and any(map(is_frame, names)):
            key = clip_key(*_before_alignment(parts)[-depth:])
            if key not in found or not found[key].is_dir():
                found[key] = here
    return found


def clip_key(*parts: str) -> str:
    """Returns the key of a clip: parts of a path, in lower case, numbers without leading zeros."""
    lower = [part.strip().lower() for part in parts]
    return "/".join(str(int(part)) if part.isascii() and part.isdigit() else part for part in lower)


def _before_alignment(parts: Sequence[str]) -> Sequence[str]:
    """Returns `a/b` for `a/b/b_aligned` and for `a/b_aligned`."""
    if not parts or not parts[-1].lower().endswith(ALIGNED):
        return parts
    *above, name = (*parts[:-1], parts[-1][: -len(ALIGNED)])
    return above if above and above[-1] == name else [*above, name]


def _of_frames(folder: Path) -> bool:
    """Returns True if the first clip below a folder is a folder of frames."""
    for _, names in _walk(folder):
        if any(map(is_video, names)) or any(map(is_frame, names)):
            return not any(map(is_video, names))
    return False


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yields every folder at or below one, and the names of the files in it."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        yield Path(place), names


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(root) if entry.is_dir())
    except OSError:
        return []


def _descend(start: Path, parts: Sequence[str]) -> Path | None:
    """Returns a path below `start`, each part as it is written or else in any case; None if there is none."""
    for part in parts:
        exact = start / part
        if not exact.exists():
            try:
                names = [name for name in os.listdir(start) if name.lower() == part.lower()]
            except OSError:
                return None
            if not names:
                return None
            exact = start / min(names)
        start = exact
    return start
