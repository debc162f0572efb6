"""CelebV-HQ (Zhu et al., ECCV 2022): clips of celebrities cropped to the face, with attributes.

There are no classes: each appearance and action is a column of the metadata, 0 or 1, for the task
`multilabel`. The subject of a clip is the video it was cut from, so that a held-out share has other videos.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maedfer.data.corpora.reading.corpus import FACE_CROPS, Clips, Corpus
from maedfer.data.corpora.reading.tree import clip_folder, clip_key, list_clips, require_path
from maedfer.data.video.source import Source
from maedfer.errors import UserError

INFO = "celebvhq_info.json"
FACES = ("35666", "celebvhq/35666", "videos", "clips")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the clips that the annotation names."""
    path = require_path(root, INFO)
    try:
        info = json.loads(path.read_text("utf-8"))
        known, columns = info["clips"], info["meta_info"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(None, f"{path} is not the annotation of CelebV-HQ ({error})") from error
    paths = list_clips(clip_folder(root, clips, FACES)[0])
    sources = [
        _source(name, paths[clip_key(name)], clip, columns)
        for name, clip in known.items()
        if clip_key(name) in paths
    ]
    missing = [name for name in known if clip_key(name) not in paths]
    return Clips(sources, {"clips": missing}, FACE_CROPS)


def _source(name: str, path: Path, clip: dict[str, Any], columns: dict[str, list[str]]) -> Source:
    attributes = {
        f"{kind}_{column}": int(value)
        for kind in ("appearance", "action")
        for column, value in zip(columns[f"{kind}_mapping"], clip["attributes"][kind], strict=True)
    }
    return Source(f"celebv_hq/{name}", str(path), subject=clip["ytb_id"], metadata=attributes)


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
