"""What a pack run is given: sources of any kind, or the clips of a corpus, and how they are packed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from maedfer.data.corpora import load_corpus
from maedfer.data.corpora.reading.corpus import Corpus
from maedfer.data.corpora.reading.counts import agreement, differences
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.pack.sources import class_names, find_sources
from maedfer.data.video.source import Source

CORPUS_SETTINGS = (
    *("detector", "largest_face", "one_track", "fps", "max_seconds", "min_frames", "frame_crop", "squeeze"),
)
"""The crop settings that depend on the corpus."""


@dataclass(frozen=True)
class Given:
    """What is to be packed: the sources, the classes in their order, and how they are packed by default.

    `corpus` is None for sources of any kind.
    """

    sources: list[Source]
    classes: tuple[str, ...]
    crop: CropSettings
    corpus: Corpus | None = None
    notes: tuple[str, ...] = ()

    def opening(self, crop: CropSettings) -> list[str]:
        """What to say of a corpus first: which clips are packed, and how, as flags."""
        if self.corpus is None:
            return []
        values = [(name, getattr(crop, name)) for name in CORPUS_SETTINGS]
        flags = [
            f"--{name.replace('_', '-')} {value if isinstance(value, str) else json.dumps(value)}"
            for name, value in values
            if value not in (None, False)
        ]
        where = os.path.commonpath([source.path for source in self.sources])
        return [f"{self.corpus.name}: {len(self.sources):,} clips in {where}, packed with {' '.join(flags)}"]

    def remarks(
        self, sources: Sequence[Source], splits: Sequence[str], packed: Sequence[bool]
    ) -> tuple[str, ...]:
        """What to say of a corpus: what was left out, and how it differs from its published sizes.

        Args:
            sources: The sources of this run; a part of them is not compared.
            splits: The split of each.
            packed: Whether it gave a sample.
        """
        whole = len(sources) == len(self.sources) == len(packed)
        if self.corpus is None or not self.corpus.sizes or not whole:
            return self.notes
        kept = [(source, split) for source, split, ok in zip(sources, splits, packed, strict=True) if ok]
        lines = differences(self.corpus, [source for source, _ in kept], [split for _, split in kept])
        return (*self.notes, *(lines or [agreement(self.corpus)]))


def find_given(sources: list[str], corpus: str | None, clips: str | None, allow_missing: bool) -> Given:
    """Find what is to be packed.

    Args:
        sources: What the command names.
        corpus: Name of the corpus whose folder that is; None for anything else.
        clips: The folder of its clips, where the user names it.
        allow_missing: Go on without what the corpus lacks.

    Raises:
        FileNotFoundError: there is nothing, or something is missing.
        ValueError: sources or lists that contradict each other, or flags for corpora without one.
    """
    if corpus is None:
        if clips is not None or allow_missing:
            raise ValueError("--clips and --allow-missing are for a corpus: name it with --corpus")
        found = find_sources(sources)
        return Given(found, class_names(found), CropSettings())
    known = load_corpus(corpus)
    there = known.clips(sources, clips, allow_missing)
    return Given(there.sources, known.classes, there.crop, known, there.notes)
