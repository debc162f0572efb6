"""The settings that decide where and how faces are cut out of a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from maedfer.constants import NUM_FRAMES
from maedfer.data.faces.detectors import DetectorName


@dataclass(frozen=True)
class CropSettings:
    """The settings of `maedfer pack` that decide what is stored of a source."""

    detector: DetectorName
    detector_model: str | None
    size: int
    margin: float
    fps: float
    encoding: Literal["jpeg", "h264"]
    quality: int
    min_face: float
    max_seconds: float
    largest_face: bool = False
    frame_crop: Sequence[float] | None = None
    one_track: bool = False
    min_frames: int = NUM_FRAMES
    squeeze: bool = False
