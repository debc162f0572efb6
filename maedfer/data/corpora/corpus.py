"""What is known of a corpus: its classes, published sizes and terms, and where its clips are in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maedfer.constants import NUM_FRAMES, STORED_FPS
from maedfer.data.faces.detectors import DetectorName
from maedfer.data.video.source import Source

SHOWN = 5
"""Names of missing things that a message gives."""


@dataclass(frozen=True)
class Packing:
    """How sources are packed where no flag says otherwise; the defaults are those without a corpus.

    Each name is the flag of `maedfer pack`.
    """

    detector: DetectorName = "haar"
    largest_face: bool = False
    one_track: bool = False
    fps: float = STORED_FPS
    max_seconds: float = 10.0
    min_frames: int = NUM_FRAMES
    frame_crop: tuple[float, float, float, float] | None = None
    squeeze: bool = False

    def with_flags(self, flags: Mapping[str, Any]) -> Packing:
        """The same with the flags that were given, those that are not None; a detector that looks for faces
        has no use for what is said of whole frames."""
        given = {name: value for name, value in flags.items() if value is not None}
        whole = given.get("detector", self.detector) == "none"
        return replace(self if whole else replace(self, frame_crop=None, squeeze=False), **given)


RAW_CLIPS = Packing(largest_face=True, one_track=True, fps=25.0, max_seconds=60.0, min_frames=1)
"""Labelled clips of a scene: one sample each, of the person that is seen largest; 25 frames per second, so
that upstream's frame indices can be taken."""

FACE_CROPS = replace(RAW_CLIPS, detector="none", largest_face=False, squeeze=True)
"""Labelled clips that their authors have cropped to the face; upstream squeezes their frames to squares."""

NO_CROPS = (
    "these are videos of whole scenes, in which faces are looked for: published numbers rest on the authors' "
    "face crops, and theirs are not there"
)
"""The note on raw videos of a corpus whose authors give face crops too."""


@dataclass(frozen=True)
class Clips:
    """What was found in a folder.

    Attributes:
        sources: The clips.
        missing: Names of what should be there and is not, by what it is (`lists`, `clips`).
        packing: How these clips are packed.
        notes: What else the user should know.
    """

    sources: list[Source]
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    packing: Packing = RAW_CLIPS
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """One corpus.

    Attributes:
        name: What `--corpus` takes.
        title: Its name in words.
        classes: The labels in the published order; empty for one without.
        sizes: Published clips of each part (`all`, `fold 1`, or a split): of each class, or in all; empty
            where no size is known for sure.
        ask: Page where it is asked for, or downloaded from.
        terms: On which terms, in short.
        layout: What a folder of it holds, for the message that something is not there.
        find: Collects the clips of a folder; the second argument is the folder of the clips below it, where
            the user names one.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    sizes: Mapping[str, int | tuple[int, ...]]
    ask: str
    terms: str
    layout: str
    find: Callable[[Path, str | None], Clips]

    def clips(self, roots: Sequence[str], clips: str | None = None, allow_missing: bool = False) -> Clips:
        """The clips of a folder, all of them unless `allow_missing`.

        Raises:
            FileNotFoundError: the folder does not exist, is not of this corpus, or lacks lists or clips.
            ValueError: not one folder, or contents that contradict each other.
        """
        if len(roots) != 1:
            raise ValueError(f"--corpus {self.name} takes one SOURCE, the folder of {self.title}")
        root = Path(roots[0])
        if not root.is_dir():
            raise FileNotFoundError(f"--corpus {self.name}: {root} is not a folder")
        try:
            found = self.find(root, clips)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"--corpus {self.name}: {error}. {self.where}") from error
        if not found.sources:
            raise FileNotFoundError(f"--corpus {self.name}: no clip of {self.title} in {root}. {self.where}")
        if any(found.missing.values()) and not allow_missing:
            raise FileNotFoundError(
                f"--corpus {self.name}: {_missing(found.missing)} (found: {len(found.sources)} clips in "
                f"{root}); complete the folder, or go on without them with --allow-missing true"
            )
        return replace(found, notes=(*found.notes, *_left_out(found.missing)))

    @property
    def where(self) -> str:
        """What a folder of it looks like and where it comes from, in one line."""
        return f"{self.title} holds {self.layout}; ask for it at {self.ask}"


def _missing(missing: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
        f"{len(names)} {what} missing: {_some(names)}" for what, names in missing.items() if names
    )


def _left_out(missing: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"left out: {_missing(missing)}"] if any(missing.values()) else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
