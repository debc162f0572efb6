"""Published results on a corpus, to set beside one's own: the rows of `configs/published/<corpus>.csv`.

Percent as printed, each with its source; parameters in millions, multiply-accumulates ("FLOPs" in the papers)
in thousands of millions. A row without a fold is the published figure of the whole protocol: the mean over
folds, or the one test set.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

from maedfer.data.corpora import load_corpus
from maedfer.resources import shipped_folder

FIXED = ("method", "fold", "params_m", "macs_g", "modality", "uar", "war", "source")
"""Columns of the file; the others are classes, with their recall."""

TITLES = {
    "fold": "fold",
    "params (M)": "params_m",
    "MACs (G)": "macs_g",
    "modality": "modality",
    "UAR (%)": "uar",
    "WAR (%)": "war",
}
"""Columns that are shown, beside the method, the classes and the source."""


@dataclass(frozen=True)
class PublishedRow:
    """One published result, as text; what was not given is empty."""

    method: str
    fold: str
    params_m: str
    macs_g: str
    modality: str
    uar: str
    war: str
    source: str
    recalls: Mapping[str, str]


def published_rows(corpus: str | None) -> list[PublishedRow]:
    """The published results on a corpus, in the order of their tables; empty where there are none here."""
    path = shipped_folder("configs") / "published" / f"{corpus}.csv"
    if corpus is None or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [_row(cells) for cells in csv.DictReader(stream)]


def _row(cells: Mapping[str, str]) -> PublishedRow:
    recalls = {name: value for name, value in cells.items() if name not in FIXED}
    return PublishedRow(**{name: cells[name] for name in FIXED}, recalls=recalls)


def rows_beside(corpus: str | None, names: Sequence[str], folds: Sequence[str] = ()) -> list[PublishedRow]:
    """The rows to set beside results on a corpus: those of its protocol, and of the fold if it is one.

    None where the classes are others than the published ones.

    Args:
        corpus: the corpus of the shards.
        names: the classes of the results.
        folds: the folds that were tested.
    """
    rows = published_rows(corpus)
    if any(
        row.recalls and set(map(str.casefold, row.recalls)) != set(map(str.casefold, names)) for row in rows
    ):
        return []
    return [row for row in rows if not row.fold or list(folds) == [row.fold]]


def unlike_test(corpus: str, tested: Mapping[str, int]) -> str:
    """A sentence where results are not of the test clips that published ones are of; empty where they are.

    Args:
        corpus: a corpus with published results.
        tested: how many clips were tested in each fold; under an empty name those without a fold.
    """
    sizes = load_corpus(corpus).sizes
    counts = {part: size if isinstance(size, int) else sum(size) for part, size in sizes.items()}
    folds = {part.removeprefix("fold "): n for part, n in counts.items() if part.startswith("fold ")}
    published = folds or {"": counts["test"]}
    if tested == published:
        return ""
    share = "all of " if tested.items() <= published.items() else ""
    return f"Not {share}the published test: that is {_test(published)}, this is {_test(tested)}."


def _test(clips: Mapping[str, int]) -> str:
    """A test in words."""
    total, folds = f"{sum(clips.values()):,} clips", len(clips.keys() - {""})
    several = f"the mean over {folds} folds" if folds > 1 else f"fold {next(iter(clips))}" if folds else ""
    return f"{several} with {total}" if several else f"one set of {total}"


class OwnRow(NamedTuple):
    """One's own result, as shares in 0..1: its name, UAR, WAR, and the recall of each class."""

    name: str
    uar: float
    war: float
    recalls: Mapping[str, float]


def side_by_side(rows: Sequence[PublishedRow], own: OwnRow) -> list[list[str]]:
    """A header and the cells of published results and of one's own, without columns that are empty."""
    classes = list(dict.fromkeys(name for row in rows for name in row.recalls))
    header = ["", *TITLES, *(f"{name} (%)" for name in classes), "source"]
    mine = {name.casefold(): percent(value) for name, value in own.recalls.items()}
    cells = [
        *([getattr(row, name) for name in ("method", *TITLES.values())] for row in rows),
        [own.name, "", "", "", "", percent(own.uar), percent(own.war)],
    ]
    for line, row in zip(cells, [*rows, None], strict=True):
        line += [mine.get(name.casefold(), "") if row is None else row.recalls[name] for name in classes]
        line.append("" if row is None else row.source)
    kept = [k for k in range(len(header)) if any(line[k] for line in cells)]
    return [[line[k] for k in kept] for line in (header, *cells)]


def percent(value: float) -> str:
    """A share in percent with the two decimals that papers print; a dash if it is not defined."""
    return "–" if isnan(value) else f"{100 * value:.2f}"


def corpus_of(maker: Mapping[str, Any]) -> str | None:
    """The corpus that `made_by` of an index names, also of merged folders where all name the same."""
    settings = maker.get("settings") or {}
    merged = settings.get("made_by")
    if not isinstance(merged, list):
        return settings.get("corpus")
    found = {corpus_of(each) for each in merged}
    return found.pop() if len(found) == 1 else None
