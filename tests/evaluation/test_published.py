"""The published rows: as their tables print them, consistent in themselves, found by the shards' corpus."""

import csv
import re

import pytest

from maedfer.data.corpora import load_corpus
from maedfer.data.shards.origin import made_by
from maedfer.evaluation.published import (
    OwnRow,
    comparable_rows,
    comparison_rows,
    corpus_of,
    other_test,
    published_rows,
)
from maedfer.resources import shipped_folder

COUNTS = {"dfew": 37, "ferv39k": 19, "mafw": 18, "cremad": 9, "ravdess": 9, "enterface05": 9}

INCONSISTENT = {("dfew", "ResNet-18+GRU"), ("dfew", "M3DFEL"), ("mafw", "C3D")}
"""Rows whose source is inconsistent in itself."""


@pytest.mark.parametrize("corpus", COUNTS)
def test_rows_are_whole(corpus):
    rows = published_rows(corpus)
    assert len(rows) == COUNTS[corpus]
    assert len({(row.method, row.fold, row.modality) for row in rows}) == len(rows)
    for row in rows:
        assert row.method and row.source and row.war, row
        assert all(re.fullmatch(r"(\d\d?\.\d\d)?", value) for value in (row.uar, row.war)), row
    ours = [row for row in rows if row.method == "MAE-DFER" and not row.fold]
    assert len(ours) == 1 and ours[0].uar


@pytest.mark.parametrize("corpus", ["dfew", "ferv39k", "mafw"])
def test_the_classes_are_those_of_the_corpus(corpus):
    assert tuple(published_rows(corpus)[0].recalls) == load_corpus(corpus).classes
    assert comparable_rows(corpus, load_corpus(corpus).classes)


@pytest.mark.parametrize("corpus", ["dfew", "ferv39k", "mafw"])
def test_the_mean_of_the_classes_is_the_uar(corpus):
    checked = 0
    for row in published_rows(corpus):
        recalls = [float(value) for value in row.recalls.values() if value]
        assert len(recalls) in (0, len(row.recalls))
        if recalls:
            differs = abs(round(sum(recalls) / len(recalls), 2) - float(row.uar)) > 0.0301
            assert differs == ((corpus, row.method) in INCONSISTENT), row.method
            checked += 1
    assert checked == {"dfew": 17, "ferv39k": 15, "mafw": 10}[corpus]


@pytest.mark.parametrize(
    ("corpus", "method", "uar", "war"),
    [
        ("dfew", "MAE-DFER", 63.41, 74.43),
        ("dfew", "MAE-DFER, run again by a user", 62.61, 74.01),
        ("mafw", "MAE-DFER, run again by its authors", 42.36, 55.03),
    ],
)
def test_the_mean_of_the_folds_is_the_headline(corpus, method, uar, war):
    rows = [row for row in published_rows(corpus) if row.method == method]
    folds = [row for row in rows if row.fold]
    assert [row.fold for row in folds] == list("12345")
    assert sum(float(row.uar) for row in folds) / 5 == pytest.approx(uar, abs=0.006)
    assert sum(float(row.war) for row in folds) / 5 == pytest.approx(war, abs=0.006)
    assert [(row.uar, row.war) for row in rows if not row.fold] == [(f"{uar}", f"{war}")]


@pytest.mark.real
@pytest.mark.parametrize("corpus", COUNTS)
def test_rows_are_those_of_the_fact_sheet(corpus, shared):
    """Every line of the tables is a line of the file, digit by digit; every number of the prose is there."""
    text = (shared / "facts" / "mae_dfer.md").read_text()
    numbers = [
        sorted(filter(None, (cell if cell != "-" else "" for cell in cells)))
        for cells in table_lines(text, corpus)
    ]
    path = shipped_folder("configs") / "published" / f"{corpus}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = [name for name in rows[0] if name not in ("fold", "source")]
    given = "V" if corpus == "enterface05" else ""
    found = [sorted(row[name] for name in columns if row[name] and row[name] != given) for row in rows]
    assert found[: len(numbers)] == numbers and len(numbers) >= 9
    prose = text.split("### 3.3")[1].split("### 3.4")[0]
    for row in rows[len(numbers) :]:
        pair = f"{row['uar']}/{row['war']}" if row["uar"] else row["war"]
        assert pair in prose, row


def table_lines(text, corpus):
    """The cells of every method in the tables 3.1 and 3.2 that are about a corpus."""
    place = {"cremad": slice(0, 4), "ravdess": slice(5, 9), "enterface05": slice(10, 13)}.get(corpus)
    title = {"dfew": "#### DFEW", "ferv39k": "#### FERV39k", "mafw": "#### MAFW"}.get(corpus, "### 3.2")
    block = re.split(r"^###", text.split(title)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.replace("*", "") for line in block.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]
    assert all(len(row) == len(cells[0]) for row in cells)
    return [row[place] if place else row for row in cells]


def test_rows_beside_results_of_some_folds():
    rows = published_rows("dfew")
    whole, names = [row for row in rows if not row.fold], [name.upper() for name in rows[0].recalls]
    assert comparable_rows("dfew", names, ["1", "2"]) == comparable_rows("dfew", names) == whole
    first = comparable_rows("dfew", names, ["1"])
    assert len(first) == len(whole) + 6 and ("MAE-DFER", "1", "62.59", "74.88") in {
        (row.method, row.fold, row.uar, row.war) for row in first
    }
    assert (
        comparable_rows("dfew", names[1:])
        == comparable_rows("nothing", names)
        == comparable_rows(None, names)
        == []
    )
    assert len(comparable_rows("ravdess", ["other", "classes"])) == 9  # no published recalls tell them apart


@pytest.mark.parametrize(
    ("corpus", "tested", "words"),
    [
        ("ravdess", {str(fold): 240 for fold in range(1, 7)}, ""),
        ("ferv39k", {"": 7847}, ""),
        ("ferv39k", {"": 7846}, "Not the published test: that is one set of 7,847 clips, this is one set of"),
        (
            "dfew",
            {"1": 2341},
            "Not all of the published test: that is the mean over 5 folds with 11,697 clips, ",
        ),
        ("dfew", {"1": 2341}, "this is fold 1 with 2,341 clips."),
        ("dfew", {"1": 9}, "Not the published test: "),
        ("dfew", {"": 11697}, "this is one set of 11,697 clips."),
        ("mafw", {"a": 5, "b": 6}, "this is the mean over 2 folds with 11 clips."),
    ],
)
def test_another_test_than_the_published_one_is_said(corpus, tested, words):
    found = other_test(corpus, tested)
    assert words in found and bool(words) == bool(found)


@pytest.mark.parametrize("corpus", COUNTS)
def test_the_published_test_is_known(corpus):
    assert other_test(corpus, {"": 1}).startswith("Not the published test: that is ")


def test_results_side_by_side():
    header, *cells = comparison_rows(
        published_rows("ravdess"), OwnRow("ours", 0.5, float("nan"), {"calm": 0.25})
    )
    assert header == ["", "modality", "UAR (%)", "WAR (%)", "source"]
    assert cells[0] == ["VO-LSTM", "V", "", "60.50", "poster of MAE-DFER, ACM MM 2023"]
    assert cells[-1] == ["ours", "", "50.00", "–", ""]


def test_the_corpus_of_shards_also_when_merged():
    dfew, other = (made_by("maedfer pack", {"corpus": name}) for name in ("dfew", "mafw"))
    assert corpus_of(dfew) == "dfew" and corpus_of({}) is None
    assert corpus_of(made_by("maedfer pack", {"corpus": None})) is None

    def merged(*makers):
        return made_by("maedfer merge", {"made_by": list(makers)})

    assert corpus_of(merged(dfew, merged(dfew, dfew))) == "dfew"
    assert corpus_of(merged(dfew, other)) is None
    assert corpus_of(merged(dfew, made_by("maedfer pack", {}))) is None
