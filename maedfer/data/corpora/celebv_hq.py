"""CelebV-HQ (Zhu et al., ECCV 2022): clips of celebrities cropped to the face, with attributes.

There are no classes: each appearance and action is a column of the metadata, 0 or 1, for the task
`multilabel`. The subject of a clip is the video it was cut from, so that a held-out share has other videos.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maedfer.data.corpora.reading.corpus import FACE_CROPS, Clips, Corpus
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tree import clip_folder, list_clips, require_path
from maedfer.errors import UserError

INFO = "celebvhq_info.json"
FACES = ("35666", "celebvhq/35666", "videos", "clips")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips that the annotation names."""
    path = require_path(root, INFO)
    try:
        info = json.loads(path.read_text("utf-8"))
        listed = [_listed(name, clip, info["meta_info"]) for name, clip in info["clips"].items()]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(None, f"{path} is not the annotation of CelebV-HQ ({error})") from error
    folder, _ = clip_folder(root, clips, FACES)
    sources, missing = match_clips("celebv_hq", listed, list_clips(folder))
    return Clips(sources, {"clips": missing}, FACE_CROPS)


def _listed(name: str, clip: dict[str, Any], columns: dict[str, list[str]]) -> ListedClip:
    attributes = {
        f"{kind}_{column}": int(value)
        for kind in ("appearance", "action")
        for column, value in zip(columns[f"{kind}_mapping"], clip["attributes"][kind], strict=True)
    }
    return ListedClip(name, None, {"subject": clip["ytb_id"], "metadata": attributes})


CORPUS = Corpus(
    name="celebv_hq",
    title="CelebV-HQ",
    classes=(),
    sizes={"all": 35666},
    ask="https://celebv-hq.github.io/",
    terms="non-commercial research; the videos are YouTube's",
    layout="celebvhq_info.json and 35666/<clip>.mp4",
    find=find,
    tested=False,
)
