"""VoxCeleb2 (Chung et al., Interspeech 2018): face tracks of celebrities, unlabelled.

MAE-DFER pre-trains on the development part: tracks of 224x224, as they are distributed. The frame crop is
that of upstream: the upper 160 rows and the middle 160 columns of the 224.
"""

from __future__ import annotations

import re
from pathlib import Path

from maedfer.data.corpora.reading.corpus import Clips, Corpus
from maedfer.data.corpora.reading.tree import clip_folder, list_clips
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.video.source import Source

FRAME_CROP = (32 / 224, 0.0, 160 / 224, 160 / 224)
MAX_SECONDS = 600.0
"""As published, a track is a sample however long it is: an epoch draws one clip of each."""

NAME = re.compile(r"(id\d+)/([^/]+)/\d+")
PLACES = ("dev/mp4", "mp4", ".")


def find(root: Path, clips: str | None) -> Clips:
    """Collects the tracks `id*/<video>/<number>.mp4`, with the person as the subject."""
    folder, _ = clip_folder(root, clips, PLACES)
    tracks = {key: path for key, path in list_clips(folder, depth=3).items() if NAME.fullmatch(key)}
    sources = [_source(path) for path in tracks.values()]
    return Clips(sources, {}, CropSettings(detector="none", max_seconds=MAX_SECONDS, frame_crop=FRAME_CROP))


def _source(path: Path) -> Source:
    person, video = path.parts[-3:-1]
    return Source(f"voxceleb2/{person}/{video}/{path.name}", str(path), subject=person)


CORPUS = Corpus(
    name="voxceleb2",
    title="VoxCeleb2",
    classes=(),
    sizes={"all": 1092009},
    ask="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html",
    terms="the annotation is CC BY 4.0, the videos are YouTube's; a form, the password comes by e-mail",
    layout="dev/mp4/id*/<video>/<number>.mp4",
    find=find,
)
