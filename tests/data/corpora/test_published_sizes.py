"""Generated folders of the published sizes, with empty files: what is found is what the authors say there is.

The numbers are written down here once more, from the shipped lists of MAE-DFER and the papers of the corpora.
"""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers import miniatures
from helpers.miniatures import cremad_names, empty_frames, empty_video, of_each, spread

from maedfer.data.corpora import NAMES, load_corpus, table
from maedfer.data.corpora.reading.corpus import UNTESTED
from maedfer.data.corpora.reading.counts import agreement, count_parts, differences
from maedfer.data.pack.inputs import PackInputs
from maedfer.data.pack.sources import split_of

pytestmark = pytest.mark.long

DFEW = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
FERV39K = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
MAFW = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    *("contempt", "anxiety", "helplessness", "disappointment"),
)


@pytest.fixture
def tree():
    """A folder for ten thousands of files: in memory where the system has a place for that."""
    memory = "/dev/shm"
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def found(name, root):
    """The clips of a folder, their numbers by part and class, and how these differ from the corpus's own."""
    corpus = load_corpus(name)
    clips = corpus.clips([str(root)])
    assert clips.notes == (() if corpus.tested else (UNTESTED,)) or name == "dfew"
    splits = [split_of(source, "train", 0.0) for source in clips.sources]
    parts = count_parts(clips.sources, splits)
    in_order = {part: [count[each] for each in corpus.classes] for part, count in parts.items()}
    return clips.sources, in_order, differences(corpus, clips.sources, splits)


def test_dfew(tree):
    first = (489, 379, 534, 435, 294, 29, 181)
    folds = {1: of_each(DFEW, first)} | {
        fold: spread(DFEW, size) for fold, size in {2: 2341, 3: 2340, 4: 2339, 5: 2336}.items()
    }
    root = miniatures.dfew(tree / "dfew", folds, empty_video, "Clip/original", votes=False)
    _, parts, odd = found("dfew", root)
    assert load_corpus("dfew").classes == DFEW and odd == []
    assert parts["fold 1"] == list(first) and sum(parts["all"]) == 11697
    assert [sum(parts[f"fold {fold}"]) for fold in range(1, 6)] == [2341, 2341, 2340, 2339, 2336]
    assert agreement(load_corpus("dfew")) == "dfew: 11,697 clips in 5 folds, as published"


def test_ferv39k(tree):
    test = (1473, 1393, 1958, 1487, 638, 467, 431)
    splits = {"train": spread(FERV39K, 31088), "test": of_each(FERV39K, test)}
    sources, parts, odd = found("ferv39k", miniatures.ferv39k(tree, splits, empty_video))
    assert load_corpus("ferv39k").classes == FERV39K and odd == []
    assert parts["test"] == list(test) and sum(parts["train"]) == 31088 and sum(parts["all"]) == 38935
    scenes = {source.metadata["scene"] for source in sources}
    assert scenes == set(miniatures.SCENES) and len(scenes) == 22


def test_mafw(tree):
    first = (278, 128, 125, 249, 228, 294, 215, 48, 184, 53, 37)
    whole = (1390, 639, 625, 1242, 1138, 1470, 1072, 236, 916, 262, 182)
    others = of_each(MAFW, [all_ - one for all_, one in zip(whole, first, strict=True)])
    folds, start = {1: of_each(MAFW, first)}, 0
    for fold, size in {2: 1837, 3: 1833, 4: 1832, 5: 1831}.items():
        folds[fold] = others[start : start + size]
        start += size
    _, parts, odd = found("mafw", miniatures.mafw(tree, folds, empty_video))
    assert load_corpus("mafw").classes == MAFW and odd == []
    assert parts["fold 1"] == list(first) and parts["all"] == list(whole) and sum(whole) == 9172
    assert [sum(parts[f"fold {fold}"]) for fold in range(1, 6)] == [1839, 1837, 1833, 1832, 1831]


def test_mafw_compound(tree):
    classes = load_corpus("mafw_compound").classes
    assert classes[:11] == MAFW and len(set(classes)) == 43
    assert all(set(name.split("_")) <= set(MAFW) and name.count("_") in (1, 2) for name in classes[11:])
    sizes = {1: 1818, 2: 1809, 3: 1798, 4: 1788, 5: 1783}
    folds = {fold: spread(classes, size) for fold, size in sizes.items()}
    sources, parts, odd = found("mafw_compound", miniatures.mafw(tree, folds, empty_video, "compound"))
    assert odd == [] and sum(parts["all"]) == 8996 and 0 not in parts["fold 5"]
    assert {source.name.split("/")[0] for source in sources} == {"mafw_compound"}


def test_ravdess(tree):
    sources, parts, odd = found("ravdess", miniatures.ravdess(tree, range(1, 25), empty_video))
    classes = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    assert load_corpus("ravdess").classes == classes
    assert odd == [] and sum(parts["all"]) == 1440
    assert [parts[f"fold {fold}"] for fold in range(1, 7)] == [[16, *[32] * 7]] * 6
    people = {source.subject: source.fold for source in sources}
    assert people["actor 4"] == 1 and people["actor 5"] == 2 and people["actor 24"] == 6


def test_cremad(tree):
    """The actors were asked for 82 clips each, 7,462; twenty are not there."""
    gone = {
        1001: "NEU NEU NEU NEU NEU ANG ANG DIS DIS FEA FEA HAP HAP",
        1019: "ANG DIS FEA HAP SAD SAD",
        1073: "SAD",
    }
    every = []
    for actor in range(1001, 1092):
        names = cremad_names(actor)
        for emotion in gone.get(actor, "").split():
            names.remove(next(name for name in names if emotion in name))
        every += names
    every[every.index("1040_ITH_SAD_XX")] = "1040_ITH_SAD_X"  # as it is misspelt
    sources, parts, odd = found("cremad", miniatures.cremad(tree, every, empty_video))
    assert load_corpus("cremad").classes == ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD") and odd == []
    assert parts["all"] == [1271, 1271, 1271, 1271, 1087, 1271] and len(every) == 7442
    assert [sum(parts[f"fold {fold}"]) for fold in range(1, 6)] == [1463, 1470, 1476, 1476, 1557]
    assert {source.fold for source in sources if source.subject == "actor 1091"} == {5}


def test_enterface05(tree):
    sources, parts, odd = found("enterface05", miniatures.enterface05(tree, range(1, 45), empty_video))
    assert load_corpus("enterface05").classes == (
        "anger",
        "disgust",
        "fear",
        "happiness",
        "sadness",
        "surprise",
    )
    assert odd == [] and sum(parts["all"]) == 1287
    assert [sum(parts[f"fold {fold}"]) for fold in range(1, 6)] == [270, 270, 267, 270, 210]
    assert len({source.subject for source in sources}) == 43


def test_voxceleb2_has_people_and_no_labels(tree):
    sources, parts, odd = found("voxceleb2", miniatures.voxceleb2(tree, empty_video))
    corpus = load_corpus("voxceleb2")
    assert corpus.classes == () and parts["all"] == []
    assert odd == ["voxceleb2, all: 3 clips, published are 1,092,009"]
    clips = corpus.clips([str(tree)])
    assert clips.sources == sources
    assert [source.subject for source in clips.sources] == ["id00012", "id00012", "id00015"]
    assert clips.sources[0].name == "voxceleb2/id00012/21Uxsk56VDQ/00001.mp4"
    left, top, width, height = (224 * part for part in clips.crop.frame_crop)
    assert (left, top, width, height) == (32, 0, 160, 160) and clips.crop.detector == "none"


def test_a_difference_is_told_by_part_and_class(tree):
    root = miniatures.enterface05(tree, [*range(1, 24), *range(25, 45)], empty_frames, "face_aligned", "_")
    corpus = load_corpus("enterface05")
    with pytest.raises(FileNotFoundError, match="30 clips missing: subject_24/anger/sentence_1, "):
        corpus.clips([str(root)])
    clips = corpus.clips([str(root)], allow_missing=True)
    assert clips.crop.detector == "none" and clips.notes[0].startswith("left out: 30 clips missing")
    lines = differences(corpus, clips.sources, ["train"] * len(clips.sources))
    assert lines == [
        "enterface05, all: 1,257 clips, published are 1,287",
        "enterface05, fold 3: 237 clips, published are 267 (anger 40 of 45, disgust 40 of 45, fear 40 of 45, "
        "happiness 37 of 42, sadness 40 of 45, surprise 40 of 45)",
    ]


def test_what_a_run_says_of_a_corpus(tree):
    folds = {fold: list(DFEW) for fold in range(1, 6)}
    corpus = load_corpus("dfew")
    clips = corpus.clips([str(miniatures.dfew(tree, folds, empty_frames))])
    corpus = replace(corpus, sizes={"all": 35, "fold 1": (1,) * 7})
    inputs = PackInputs(clips.sources, corpus.classes, clips.crop, corpus, ("a note",))
    splits, packed = ["train"] * 35, [True] * 35
    assert inputs.remarks(clips.sources, splits, packed) == (
        "a note",
        "dfew: 35 clips in 1 folds, as published",
    )
    packed[0] = False
    lines = inputs.remarks(clips.sources, splits, packed)
    assert lines[1:] == (
        "dfew, all: 34 clips, published are 35",
        "dfew, fold 1: 6 clips, published are 7 (happy 0 of 1)",
    )
    assert inputs.remarks(clips.sources[:9], splits[:9], packed[:9]) == ("a note",)  # a part


def test_the_table_has_a_row_for_each_corpus_and_stands_in_the_page():
    rows = table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(NAMES)
    assert all((UNTESTED in row) != load_corpus(name).tested for row, name in zip(rows, NAMES, strict=True))
    assert {row.count(" | ") for row in rows} == {6}
    page = Path(__file__).resolve().parents[3] / "docs" / "corpora.md"
    assert table() in page.read_text(encoding="utf-8"), "write maedfer.data.corpora.table() into the page"


@pytest.mark.parametrize("name", NAMES)
def test_every_corpus_says_what_it_is(name):
    corpus = load_corpus(name)
    assert corpus.name == name and corpus.ask.startswith("https://") and corpus.terms and corpus.layout
    assert len(set(corpus.classes)) == len(corpus.classes)
    assert all(isinstance(size, int) or len(size) == len(corpus.classes) for size in corpus.sizes.values())
    folds = [
        size if isinstance(size, int) else sum(size) for part, size in corpus.sizes.items() if "fold" in part
    ]
    whole = corpus.sizes.get("all")
    assert corpus.sizes or name in ("mead", "mosei")
    assert not folds or sum(folds) == (whole if isinstance(whole, int) else sum(whole))
