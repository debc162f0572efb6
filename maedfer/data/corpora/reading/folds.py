"""Clips that the lists of a corpus name: their folds, and matching them with the clips in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maedfer.data.corpora.reading.tree import clip_key
from maedfer.data.video.source import Source
from maedfer.errors import UserError


@dataclass(frozen=True)
class ListedClip:
    """A clip that a list names.

    Attributes:
        clip: Its name as the lists have it, without a suffix.
        label: Name of its class; None in a corpus without classes.
        fields: Further fields of `Source`.
    """

    clip: str
    label: str | None
    fields: Mapping[str, Any]


def clips_by_fold(lists: Mapping[int, tuple[Path, Iterable[tuple[str, str]]]]) -> list[ListedClip]:
    """Returns the clips of test lists; the fold of a clip is the one that tests on it.

    Args:
        lists: The file of each fold, and the pairs of clip and label in it.

    Raises:
        UserError: a clip is in two lists.
    """
    seen: dict[str, Path] = {}
    clips = []
    for fold, (path, pairs) in lists.items():
        for clip, label in pairs:
            key = clip_key(*clip.split("/"))
            if key in seen:
                raise UserError(
                    None, f"clip {clip} is in two test lists, {seen[key]} and {path}: folds must not overlap"
                )
            seen[key] = path
            clips.append(ListedClip(clip, label, {"fold": fold}))
    return clips


def match_clips(
    corpus: str, listed: Iterable[ListedClip], clips: Mapping[str, Path]
) -> tuple[list[Source], list[str]]:
    """Returns the sources of the listed clips that are there, and the names of those that are missing.

    Args:
        corpus: Name of the corpus, with which the names of the sources begin.
        listed: The clips of the lists, `/` between parts of a path.
        clips: The clips of the folder, by `clip_key`.

    Raises:
        UserError: a clip is listed twice.
    """
    sources: list[Source] = []
    missing: list[str] = []
    seen: set[str] = set()
    for each in listed:
        key = clip_key(*each.clip.split("/"))
        if key in seen:
            raise UserError(None, f"the lists of {corpus} name the clip {each.clip} twice")
        seen.add(key)
        path = clips.get(key)
        if path is None:
            missing.append(each.clip)
        else:
            sources.append(Source(f"{corpus}/{each.clip}", str(path), label=each.label, **each.fields))
    return sources, missing
