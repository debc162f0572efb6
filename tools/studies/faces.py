"""The faces of a study: an unlabelled bulk to pre-train on, and labelled clips of other people.

`clean`, `diverse` and `messy` are drawn (`maedfer synthesize`); `real` is whatever videos its user has. They
have no labels, and are used on the labelled clips of `clean`. Labelled clips are drawn as videos and packed,
like anyone's; none of their people are in the bulk, or in the demo.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maedfer.data.shards.format import INDEX_NAME
from maedfer.data.synthetic.expressions import CLASSES
from maedfer.demo.command import run_verb
from maedfer.errors import UserError

DRAWN = ("clean", "diverse", "messy")
REAL = "real"
SIZE = "48"
VAL_SHARE = "0.2"
MOST_LABELS = 100
TEST_CLIPS = 80 * len(CLASSES)


@dataclass(frozen=True)
class Faces:
    """One set of faces as two shard folders.

    Attributes:
        name: `clean`, `diverse`, `messy` or `real`.
        unlabelled: splits train and val.
        labelled: splits train and test.
    """

    name: str
    unlabelled: Path
    labelled: Path

    def fingerprint(self) -> str:
        """What tells these faces from others, wherever they lie."""
        indices = (shards / INDEX_NAME for shards in (self.unlabelled, self.labelled))
        return hashlib.sha256(b"".join(path.read_bytes() for path in indices)).hexdigest()


def check_faces(names: Sequence[str], videos: str | None) -> None:
    """Refuse sets that there are not.

    Raises:
        UserError: says which, or what is missing.
    """
    for name in names:
        if name not in (*DRAWN, REAL):
            raise UserError("faces", f"{name}: take {', '.join(DRAWN)} or {REAL}")
    if (REAL in names) != (videos is not None):
        raise UserError("faces", "real and `videos`, a folder of face videos, need each other")


def make_faces(folder: Path, name: str, clips: int, videos: str | None = None) -> Faces:
    """Make a set of faces, or find it made.

    Args:
        folder: where the sets lie.
        name: which one.
        clips: unlabelled clips that are drawn.
        videos: folder of real videos.

    Raises:
        UserError: a stage failed.
    """
    bulk = folder / f"{name}-{clips}"
    if name == REAL:
        run_verb("pack", videos, "--out", folder / REAL, "--size", SIZE, "--val-share", VAL_SHARE)
        return Faces(REAL, folder / REAL, make_labelled(folder, DRAWN[0]))
    if not (bulk / "index.json").is_file():
        counts = ("--clips", str(clips), "--val-clips", "256", "--size", SIZE)
        run_verb("synthesize", "--shards", "--out", bulk, *counts, "--seed", "1", "--difficulty", name)
    return Faces(name, bulk, make_labelled(folder, name))


def make_labelled(folder: Path, difficulty: str) -> Path:
    """Labelled videos of drawn people, packed."""
    videos, shards = folder / f"{difficulty}-videos", folder / f"{difficulty}-labelled"
    if not (videos / "list.csv").is_file():
        counts = ("--clips", str(MOST_LABELS * len(CLASSES)), "--test-clips", str(TEST_CLIPS))
        shape = ("--size", "64", "--fps", "12.5", "--seconds", "2.64", "--difficulty", difficulty)
        run_verb("synthesize", "--out", videos, *counts, *shape, "--seed", "11")
    if not (shards / "index.json").is_file():
        run_verb("pack", videos / "list.csv", "--out", shards, "--detector", "none", "--size", SIZE)
    return shards
