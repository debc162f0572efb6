"""The type of a corpus: classes, published sizes, terms, and how its clips are found in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.video.source import Source
from maedfer.errors import UserError

UNTESTED = "layout untested on real data"
"""The note on a corpus whose layout is known from descriptions alone."""

SHOWN = 5
"""Names of missing things that a message gives."""

RAW_CLIPS = CropSettings(largest_face=True, one_track=True, fps=25.0, max_seconds=60.0, min_frames=1)
"""For labelled clips of a scene: one sample each, of the person that is seen largest; 25 frames per second,
so that upstream's frame indices can be taken."""

FACE_CROPS = replace(RAW_CLIPS, detector="none", largest_face=False, squeeze=True)
"""For labelled clips that their authors have cropped to the face; upstream squeezes frames to squares."""

NO_CROPS = (
    "these are videos of whole scenes, in which faces are looked for: published numbers rest on the authors' "
    "face crops, which are not in the folder"
)
"""The note on raw videos of a corpus whose authors give face crops too."""


Size = int | tuple[int, ...]
"""A published number of clips: of each class, or in all."""


def by_fold(*sizes: Size) -> dict[str, Size]:
    """Returns published sizes of folds, in their order, as `Corpus.sizes` names them."""
    return {f"fold {number}": size for number, size in enumerate(sizes, 1)}


@dataclass(frozen=True)
class Clips:
    """The clips of a folder.

    Attributes:
        sources: The clips that were found.
        missing: Names of things that should be there and are not, by kind (`lists`, `clips`).
        crop: How these clips are cropped unless the user says otherwise.
        notes: Remarks for the user.
    """

    sources: list[Source]
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    crop: CropSettings = RAW_CLIPS
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """A corpus.

    Attributes:
        name: The value of `--corpus`.
        title: Its name in words.
        classes: The labels in the published order; empty for a corpus without classes.
        sizes: Published clips of each part (`all`, `fold 1`, or a split): of each class, or in all; empty
            where no size is known for sure.
        ask: Page to request or to download it from.
        terms: Terms of use in short.
        layout: The contents of its folder, for messages.
        find: Collects the clips of a folder; the second argument is the folder of the clips below it, where
            the user names one.
        tested: False where the layout is known from descriptions alone, not from published lists or code.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    sizes: Mapping[str, Size]
    ask: str
    terms: str
    layout: str
    find: Callable[[Path, str | None], Clips]
    tested: bool = True

    def clips(self, roots: Sequence[str], clips: str | None = None, allow_missing: bool = False) -> Clips:
        """Returns the clips of a folder, all of them unless `allow_missing`.

        Raises:
            FileNotFoundError: the folder does not exist, is not of this corpus, or lacks lists or clips.
            UserError: not one folder, or contents that contradict each other.
        """
        if len(roots) != 1:
            raise UserError("sources", f"corpus {self.name} takes one: the folder of {self.title}")
        root = Path(roots[0])
        if not root.is_dir():
            raise FileNotFoundError(f"corpus {self.name}: {root} is not a folder")
        try:
            found = self.find(root, clips)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"corpus {self.name}: {error}. {self.where}") from error
        if not found.sources:
            raise FileNotFoundError(f"corpus {self.name}: no clip of {self.title} in {root}. {self.where}")
        missing = _missing(found.missing)
        if missing and not allow_missing:
            raise FileNotFoundError(
                f"corpus {self.name}: {missing} (found: {len(found.sources)} clips in {root}); complete the "
                "folder, or go on without them with `allow_missing`"
            )
        notes = ([f"left out: {missing}"] if missing else []) + ([] if self.tested else [UNTESTED])
        return replace(found, notes=(*found.notes, *notes))

    @property
    def where(self) -> str:
        """The contents of its folder and the page to ask at, in one line."""
        untested = "" if self.tested else f" ({UNTESTED})"
        return f"{self.title} holds {self.layout}{untested}; ask for it at {self.ask}"

    @property
    def folds(self) -> int:
        """The number of its published folds."""
        return sum(part.startswith("fold ") for part in self.sizes)

    @property
    def total(self) -> int:
        """The published number of its clips; 0 where none is published."""
        sizes = [self.sizes["all"]] if "all" in self.sizes else self.sizes.values()
        return sum(size if isinstance(size, int) else sum(size) for size in sizes)


def _missing(missing: Mapping[str, Sequence[str]]) -> str:
    """Counts and names missing things; empty where nothing is missing."""
    texts = []
    for kind, names in missing.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        texts += [f"{len(names)} {kind} missing: {', '.join(names[:SHOWN])}{more}"] if names else []
    return "; ".join(texts)
