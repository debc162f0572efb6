"""Compares the packed clips of a corpus with its published sizes, part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from maedfer.data.corpora.reading.corpus import Corpus
from maedfer.data.video.source import Source


def count_parts(sources: Sequence[Source], splits: Sequence[str]) -> dict[str, Counter[str | None]]:
    """Counts the clips of each class in `all`, in each fold (`fold 1`) and in each split.

    Args:
        sources: The clips.
        splits: The split of each.
    """
    parts: dict[str, Counter[str | None]] = {"all": Counter()}
    for source, split in zip(sources, splits, strict=True):
        names = ["all", split] if source.fold is None else ["all", split, f"fold {source.fold}"]
        for name in names:
            parts.setdefault(name, Counter())[source.label] += 1
    return parts


def differences(corpus: Corpus, sources: Sequence[Source], splits: Sequence[str]) -> list[str]:
    """Returns one line for each part whose counts differ from the published ones."""
    counts = count_parts(sources, splits)
    return [
        f"{corpus.name}, {part}: {text}"
        for part, size in corpus.sizes.items()
        for text in _difference(corpus.classes, size, counts.get(part, Counter()))
    ]


def agreement(corpus: Corpus) -> str:
    """Returns the line for a corpus whose counts all agree with the published sizes."""
    where = f" in {corpus.folds} folds" if corpus.folds else ""
    return f"{corpus.name}: {corpus.total:,} clips{where}, as published"


def _difference(
    classes: Sequence[str], size: int | tuple[int, ...], count: Counter[str | None]
) -> Iterator[str]:
    total = size if isinstance(size, int) else sum(size)
    wrong = []
    if not isinstance(size, int) and count:
        pairs = zip(classes, size, strict=True)
        wrong = [f"{name} {count[name]:,} of {wanted:,}" for name, wanted in pairs if count[name] != wanted]
    if wrong or count.total() != total:
        detail = f" ({', '.join(wrong)})" if wrong else ""
        yield f"{count.total():,} clips, published are {total:,}{detail}"
