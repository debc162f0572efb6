"""The settings of `maedfer pack`, checked before any work, and as the index records them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.detectors import make_detector
from maedfer.data.shards.encoding import Encoding
from maedfer.errors import UserError

POSITIVE = (
    *("shard_size", "max_samples", "stall_timeout", "workers", "source_timeout"),
    *("size", "fps", "max_seconds", "min_frames"),
)
"""The settings that must be more than 0."""

T = TypeVar("T")


@dataclass(frozen=True)
class StoreSettings:
    """Decides how crops are stored: `encoding` and its `quality` (JPEG quality or H.264 rate factor)."""

    encoding: Encoding = "jpeg"
    quality: int = 85


@dataclass(frozen=True)
class ShardSettings:
    """Decides how samples are divided into splits and shards.

    Attributes:
        split: The split of sources whose list names none.
        val_share: Share (0 to 1) of these sources that goes to the split `val`.
        shard_size: Size of a shard in MB, at most.
        max_samples: Samples in a shard, at most.
    """

    split: str = "train"
    val_share: float = 0.0
    shard_size: float = 128
    max_samples: int = 1000


@dataclass(frozen=True)
class RunSettings:
    """Decides how the work is run, which changes no byte of the result.

    Attributes:
        workers: Number of processes.
        stall_timeout: Seconds without a decoded frame after which a source is given up.
        source_timeout: Seconds that a source may take in all; None for no limit.
    """

    workers: int
    stall_timeout: float = 60
    source_timeout: float | None = None


@dataclass(frozen=True)
class Part:
    """The share of the sources that a run packs: `number` of `count`, counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Part:
        """Reads `i/n`, where `0/n` is another name of `n/n`; None is the whole, 1/1.

        Raises:
            UserError: not of this form, or i out of range.
        """
        pieces = (text or "1/1").split("/")
        if len(pieces) != 2 or not all(piece.isascii() and piece.isdigit() for piece in pieces):
            raise UserError("part", f"{text} is not i/n, such as 2/8 for the second of eight shares")
        number, count = (int(piece) for piece in pieces)
        if not count or number > count:
            raise UserError("part", f"{text}: i goes from 1 to n")
        return cls(number or count, count)

    def of(self, values: Sequence[T]) -> list[T]:
        """Returns the values of this part: every `count`-th, from `number` on."""
        return list(values[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class PackSettings:
    """All settings of a run."""

    crop: CropSettings
    store: StoreSettings
    shards: ShardSettings
    run: RunSettings
    part: Part = Part()

    def check(self) -> None:
        """Checks the values.

        Raises:
            UserError: a value is out of its range, or contradicts another.
            FileNotFoundError: the model of the detector does not exist.
        """
        crop, shards, run = self.crop, self.shards, self.run
        values = vars(crop) | vars(shards) | vars(run)
        for name in POSITIVE:
            if values[name] is not None and not values[name] > 0:
                raise UserError(name, f"{values[name]} must be more than 0")
        if crop.fps < 1 / FRAME_INTERVAL_S:
            raise UserError(
                "fps",
                f"{crop.fps} is less than {1 / FRAME_INTERVAL_S:g}: a clip needs {NUM_FRAMES} frames "
                f"{FRAME_INTERVAL_S} s apart",
            )
        if self.store.encoding == "h264" and crop.size % 2:
            raise UserError("size", f"{crop.size} must be even for `encoding` h264")
        for name in ("margin", "min_face"):
            if values[name] < 0:
                raise UserError(name, f"{values[name]} must not be negative")
        if not 0 <= shards.val_share <= 1:
            raise UserError("val_share", f"{shards.val_share} must lie between 0 and 1")
        make_detector(crop)

    def recorded(self, corpus: str | None) -> dict[str, Any]:
        """Returns the settings that decide the bytes, as plain JSON values for the index.

        The model of the detector is recorded by its hash, as its path differs between machines.
        """
        model = self.crop.detector_model
        part = self.crop.frame_crop
        return {
            **asdict(self.crop),
            **asdict(self.store),
            **asdict(self.shards),
            "detector_model": model and hashlib.sha256(Path(model).read_bytes()).hexdigest(),
            "frame_crop": None if part is None else list(part),
            "part": str(self.part),
            "corpus": corpus,
        }
