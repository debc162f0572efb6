"""MAFW (Liu et al., ACM MM 2022): clips of films, series and short videos, eleven expressions, five folds.

This is the single-expression set; `mafw_compound` has compound expressions too. Published numbers rest on the
authors' face frames (`data/frames`): frames taken from the raw videos give a third of them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from maedfer.data.corpora.reading.corpus import NO_CROPS, RAW_CLIPS, Clips, Corpus, by_fold
from maedfer.data.corpora.reading.folds import clips_by_fold, match_clips
from maedfer.data.corpora.reading.tables import as_label, read_pairs
from maedfer.data.corpora.reading.tree import clip_folder, find_each, list_clips

CLASSES = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    *("contempt", "anxiety", "helplessness", "disappointment"),
)
FACES = ("data/frames", "frames")
RAW = ("data/clips", "clips")
SPLITS = ("Train & Test Set", "split", "train_test_set")


def find_set(root: Path, clips: str | None, name: str, kind: str, classes: tuple[str, ...]) -> Clips:
    """Collects the clips of one of the two sets; lines of its lists are `00001.mp4 label`."""
    names = {
        fold: [f"{each}/{kind}/no_caption/set_{fold}/test.txt" for each in SPLITS] for fold in range(1, 6)
    }
    paths, absent = find_each(root, names)
    folder, crop = clip_folder(root, clips, FACES, RAW)

    def pairs(path: Path) -> list[tuple[str, str]]:
        return [(clip.split(".")[0], as_label(path, label, classes)) for clip, label in read_pairs(path)]

    lists = {fold: (path, pairs(path)) for fold, path in paths.items()}
    sources, missing = match_clips(name, clips_by_fold(lists), list_clips(folder))
    notes = (NO_CROPS,) if crop is RAW_CLIPS else ()
    return Clips(sources, {"lists": absent, "clips": missing}, crop, notes)


ASK = "https://mafw-database.github.io/MAFW/"
TERMS = "non-commercial research at universities only; a signed agreement, by e-mail"
LAYOUT = (
    "data/frames/<clip> (or data/clips/<clip>.mp4) and Train & Test Set/{}/no_caption/set_1 to set_5/test.txt"
)

CORPUS = Corpus(
    name="mafw",
    title="MAFW (single expressions)",
    classes=CLASSES,
    sizes={"all": (1390, 639, 625, 1242, 1138, 1470, 1072, 236, 916, 262, 182)}
    | by_fold((278, 128, 125, 249, 228, 294, 215, 48, 184, 53, 37), 1837, 1833, 1832, 1831),
    ask=ASK,
    terms=TERMS,
    layout=LAYOUT.format("single"),
    find=partial(find_set, name="mafw", kind="single", classes=CLASSES),
)
