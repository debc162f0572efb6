"""FERV39k (Wang et al., CVPR 2022): seven expressions in 22 scenes, one split of all of them.

The split of all scenes (`4_setups/All_scenes`) is taken; the scene of a clip is kept as metadata, so that
scores can be grouped by scene.
"""

from __future__ import annotations

from pathlib import Path

from maedfer.data.corpora.reading.corpus import Clips, Corpus
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tables import as_label, read_pairs
from maedfer.data.corpora.reading.tree import clip_folder, find_each, list_clips

CLASSES = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
FACES = ("2_ClipsforFaceCrop",)
LISTS = {
    split: (f"4_setups/All_scenes/{split}_All.csv", f"All_scenes/{split}_All.csv")
    for split in ("train", "test")
}


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips of both lists; lines are `Scene/Expression/number Expression`."""
    paths, absent = find_each(root, LISTS)
    folder, crop = clip_folder(root, clips, FACES)
    listed = [
        _listed(clip.replace("\\", "/"), as_label(path, label, CLASSES), split)
        for split, path in paths.items()
        for clip, label in read_pairs(path)
    ]
    sources, missing = match_clips("ferv39k", listed, list_clips(folder, depth=3))
    return Clips(sources, {"lists": absent, "clips": missing}, crop)


def _listed(clip: str, label: str, split: str) -> ListedClip:
    return ListedClip(clip, label, {"split": split, "metadata": {"scene": clip.split("/")[0]}})


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
