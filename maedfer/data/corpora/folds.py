"""Corpora whose authors list the test clips of each fold: a clip's fold is the one that tests on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maedfer.data.corpora.tree import clip_key
from maedfer.data.video.source import Source


@dataclass(frozen=True)
class Listed:
    """A clip that a list names.

    Attributes:
        clip: Its name as the lists have it, without a suffix.
        label: Name of its class.
        known: Further fields of `Source`.
    """

    clip: str
    label: str
    known: Mapping[str, Any]


def by_fold(lists: Mapping[int, tuple[Path, Iterable[tuple[str, str]]]]) -> list[Listed]:
    """The clips of the test lists, each with its fold.

    Args:
        lists: Of each fold its file and the pairs of clip and label in it.

    Raises:
        ValueError: a clip is in two lists.
    """
    seen: dict[str, Path] = {}
    listed = []
    for fold, (path, pairs) in lists.items():
        for clip, label in pairs:
            key = clip_key(*clip.split("/"))
            if key in seen:
                raise ValueError(
                    f"clip {clip} is in two test lists, {seen[key]} and {path}: folds must not overlap"
                )
            seen[key] = path
            listed.append(Listed(clip, label, {"fold": fold}))
    return listed


def matched(
    corpus: str, listed: Iterable[Listed], clips: Mapping[str, Path]
) -> tuple[list[Source], list[str]]:
    """The sources of listed clips, and the names of those that are not there.

    Args:
        corpus: Name of the corpus, with which the names of the sources begin.
        listed: What the lists name, `/` between parts of a path.
        clips: What is there, by `clip_key`.

    Raises:
        ValueError: a clip is listed twice.
    """
    sources, missing, seen = [], [], set()
    for each in listed:
        key = clip_key(*each.clip.split("/"))
        if key in seen:
            raise ValueError(f"the lists of {corpus} name the clip {each.clip} twice")
        seen.add(key)
        path = clips.get(key)
        if path is None:
            missing.append(each.clip)
        else:
            sources.append(Source(f"{corpus}/{each.clip}", str(path), label=each.label, **each.known))
    return sources, missing
