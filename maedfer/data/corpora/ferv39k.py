"""FERV39k (Wang et al., CVPR 2022): seven expressions in 22 scenes, one split of all of them.

The split of all scenes (`4_setups/All_scenes`) is taken; the scene of a clip is kept as metadata, so that
scores can be grouped by scene.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maedfer.data.corpora.reading.corpus import Clips, Corpus
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tables import as_label, read_pairs
from maedfer.data.corpora.reading.tree import clip_folder, find_path, list_clips
from maedfer.data.video.source import Source

CLASSES = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
FACES = ("2_ClipsforFaceCrop",)
LISTS = {
    split: (f"4_setups/All_scenes/{split}_All.csv", f"All_scenes/{split}_All.csv")
    for split in ("train", "test")
}


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips of both lists; lines are `Scene/Expression/number Expression`."""
    paths = {split: find_path(root, *names) for split, names in LISTS.items()}
    absent = [LISTS[split][0] for split, path in paths.items() if path is None]
    if len(absent) == len(LISTS):
        raise FileNotFoundError(f"{root} has no {LISTS['train'][0]}")
    folder, crop = clip_folder(root, clips, FACES)
    listed = [
        ListedClip(clip.replace("\\", "/"), as_label(path, label, CLASSES), {"split": split})
        for split, path in paths.items()
        if path is not None
        for clip, label in read_pairs(path)
    ]
    sources, missing = match_clips("ferv39k", listed, list_clips(folder, depth=3))
    return Clips([_with_scene(each) for each in sources], {"lists": absent, "clips": missing}, crop)


def _with_scene(source: Source) -> Source:
    return replace(source, metadata={"scene": source.name.split("/")[1]})


CORPUS = Corpus(
    name="ferv39k",
    title="FERV39k",
    classes=CLASSES,
    sizes={"train": 31088, "test": (1473, 1393, 1958, 1487, 638, 467, 431)},
    ask="https://wangyanckxx.github.io/Proj_CVPR2022_FERV39k.html",
    terms="academic research only; a signed agreement",
    layout="2_ClipsforFaceCrop/<scene>/<expression>/<number>, 4_setups/All_scenes/train_All.csv and "
    "test_All.csv",
    find=find,
)
