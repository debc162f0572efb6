"""The inputs of a pack run: sources of any kind or the clips of a corpus, and how they are cropped."""

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
from maedfer.errors import UserError

CORPUS_SETTINGS = ["detector", "largest_face", "one_track", "fps", "max_seconds", "min_frames"]
CORPUS_SETTINGS += ["frame_crop", "squeeze"]
"""The crop settings that depend on the corpus."""


@dataclass(frozen=True)
class PackInputs:
    """The sources to pack.

    Attributes:
        sources: The sources in order.
        classes: Names of the labels in order.
        crop: How the sources are cropped unless the user says otherwise.
        corpus: Their corpus; None for sources of any kind.
        notes: Remarks for the user.
    """

    sources: list[Source]
    classes: tuple[str, ...]
    crop: CropSettings
    corpus: Corpus | None = None
    notes: tuple[str, ...] = ()

    def opening(self, crop: CropSettings) -> list[str]:
        """Returns the first line on a corpus: which clips are packed, and how, as flags."""
        if self.corpus is None:
            return []
        values = [(name, getattr(crop, name)) for name in CORPUS_SETTINGS]
        flags = [
            f"--{name.replace('_', '-')} {value if isinstance(value, str) else json.dumps(value)}"
            for name, value in values
            if value not in (None, False)
        ]
        folder = os.path.commonpath([source.path for source in self.sources])
        return [f"{self.corpus.name}: {len(self.sources):,} clips in {folder}, packed with {' '.join(flags)}"]

    def remarks(
        self, sources: Sequence[Source], splits: Sequence[str], packed: Sequence[bool]
    ) -> tuple[str, ...]:
        """Returns remarks on a corpus: clips that were left out, and differences to the published sizes.

        Args:
            sources: The sources of this run; a part of all is not compared.
            splits: The split of each.
            packed: True for a source that has a sample.
        """
        whole = len(sources) == len(self.sources) == len(packed)
        if self.corpus is None or not self.corpus.sizes or not whole:
            return self.notes
        kept = [(source, split) for source, split, ok in zip(sources, splits, packed, strict=True) if ok]
        lines = differences(self.corpus, [source for source, _ in kept], [split for _, split in kept])
        return (*self.notes, *(lines or [agreement(self.corpus)]))


def find_inputs(sources: list[str], corpus: str | None, clips: str | None, allow_missing: bool) -> PackInputs:
    """Finds the sources to pack.

    Args:
        sources: Words of the command line.
        corpus: Name of the corpus in the only source; None for sources of any kind.
        clips: The folder of its clips, if the user names it.
        allow_missing: Continue without clips and lists that are missing.

    Raises:
        FileNotFoundError: there is no source, or something is missing.
        UserError: sources or lists that contradict each other, or a parameter that needs a corpus.
    """
    if corpus is None:
        if clips is not None or allow_missing:
            option = "allow_missing" if clips is None else "clips"
            raise UserError(option, "works only with a `corpus`: name it")
        found = find_sources(sources)
        return PackInputs(found, class_names(found), CropSettings())
    known = load_corpus(corpus)
    there = known.clips(sources, clips, allow_missing)
    return PackInputs(there.sources, known.classes, there.crop, known, there.notes)
