"""Published results on a corpus, for comparison with own results: rows of `configs/published/<corpus>.csv`.

Scores are percent as printed, each with its source; parameters are in millions, multiply-accumulates
("FLOPs" in the papers) in billions. A row without a fold is the published result of the whole protocol: the
mean over folds, or the single test set.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from maedfer.data.corpora import load_corpus
from maedfer.evaluation.scores import shown
from maedfer.resources import shipped_folder

FACTS = {
    "fold": "fold",
    "params (M)": "params_m",
    "MACs (G)": "macs_g",
    "modality": "modality",
    "UAR (%)": "uar",
    "WAR (%)": "war",
}
"""Columns of the file and of tables, by their titles, besides the method, the classes and the source."""

FIXED = ("method", *FACTS.values(), "source")
"""Columns of the file; each other column holds the recall of a class."""


@dataclass(frozen=True)
class PublishedRow:
    """A published result, as text; values that were not published are empty."""

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
    """Reads the published results on a corpus, in the order of their tables; empty if there are none."""
    path = shipped_folder("configs") / "published" / f"{corpus}.csv"
    if corpus is None or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [_row(cells) for cells in csv.DictReader(stream)]


def _row(cells: Mapping[str, str]) -> PublishedRow:
    recalls = {name: value for name, value in cells.items() if name not in FIXED}
    return PublishedRow(**{name: cells[name] for name in FIXED}, recalls=recalls)


def comparable_rows(
    corpus: str | None, names: Sequence[str], folds: Sequence[str] = ()
) -> list[PublishedRow]:
    """Returns the published rows of the whole protocol, and of the fold if exactly one was tested.

    Empty if the classes differ from the published ones.

    Args:
        corpus: the corpus of the shards.
        names: the classes of the own results.
        folds: the folds that were tested.
    """
    rows, own = published_rows(corpus), set(map(str.casefold, names))
    if any(row.recalls and set(map(str.casefold, row.recalls)) != own for row in rows):
        return []
    return [row for row in rows if not row.fold or list(folds) == [row.fold]]


def other_test(corpus: str, tested: Mapping[str, int]) -> str:
    """Returns a sentence if other clips were tested than in the published results; empty if the same.

    Args:
        corpus: a corpus with published results.
        tested: number of tested clips in each fold; under an empty name those without a fold.
    """
    sizes = load_corpus(corpus).sizes
    counts = {part: size if isinstance(size, int) else sum(size) for part, size in sizes.items()}
    folds = {part.removeprefix("fold "): n for part, n in counts.items() if part.startswith("fold ")}
    published = folds or {"": counts["test"]}
    if tested == published:
        return ""
    share = "all of " if tested.items() <= published.items() else ""
    that, this = _describe_test(published), _describe_test(tested)
    return f"Not {share}the published test: that is {that}, this is {this}."


def _describe_test(clips: Mapping[str, int]) -> str:
    total, folds = f"{sum(clips.values()):,} clips", len(clips.keys() - {""})
    several = f"the mean over {folds} folds" if folds > 1 else f"fold {next(iter(clips))}" if folds else ""
    return f"{several} with {total}" if several else f"one set of {total}"


class OwnRow(NamedTuple):
    """An own result, as shares in 0..1: its name, UAR, WAR, and the recall of each class."""

    name: str
    uar: float
    war: float
    recalls: Mapping[str, float]


def comparison_rows(rows: Sequence[PublishedRow], own: OwnRow) -> list[list[str]]:
    """Returns a header, the cells of published results, and those of the own one, without empty columns."""
    classes = list(dict.fromkeys(name for row in rows for name in row.recalls))
    recalls = {name.casefold(): shown("recall", value, 2) for name, value in own.recalls.items()}
    lines = [["", *FACTS, *(f"{name} (%)" for name in classes), "source"]]
    for row in rows:
        cells = [getattr(row, column) for column in ("method", *FACTS.values())]
        lines.append([*cells, *(row.recalls[name] for name in classes), row.source])
    cells = [own.name, "", "", "", "", shown("uar", own.uar, 2), shown("war", own.war, 2)]
    lines.append([*cells, *(recalls.get(name.casefold(), "") for name in classes), ""])
    kept = [k for k in range(len(lines[0])) if any(line[k] for line in lines[1:])]
    return [[line[k] for k in kept] for line in lines]


def corpus_of(maker: Mapping[str, Any]) -> str | None:
    """Returns the corpus that `made_by` of an index names; of merged folders, the one that all name."""
    settings = maker.get("settings") or {}
    merged = settings.get("made_by")
    if not isinstance(merged, list):
        return settings.get("corpus")
    found = {corpus_of(each) for each in merged}
    return found.pop() if len(found) == 1 else None
