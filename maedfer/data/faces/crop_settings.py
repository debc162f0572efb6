"""Settings that decide where and how faces are cut out of a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from maedfer.constants import NUM_FRAMES, STORED_FPS

DetectorName = Literal["haar", "yunet", "none"]

FrameCrop = tuple[float, float, float, float]
"""left, top, width and height of a part of the frame, in shares of its centred square."""


@dataclass(frozen=True)
class CropSettings:
    """Decides which faces of a video are found and how they are cut; each name is a flag of `maedfer pack`.

    Attributes:
        detector: Finds the faces; `none` for videos that already are face crops.
        detector_model: The YuNet .onnx file; only `yunet` has one.
        size: Side of the crops in pixels.
        margin: Share of the face box that is added on every side; not used by `none`.
        fps: Frames per second, at most.
        min_face: Smallest side of a face in source pixels.
        max_seconds: Longer tracks are split into equal pieces.
        largest_face: Keep only the largest face at a time.
        frame_crop: The part of the frame to take; only for `none`.
        one_track: Keep only the longest piece.
        min_frames: Frames that a piece must have.
        squeeze: Squeeze frames to squares instead of cutting them; only for `none`.
    """

    detector: DetectorName = "haar"
    detector_model: str | None = None
    size: int = 160
    margin: float = 0.15
    fps: float = STORED_FPS
    min_face: float = 48
    max_seconds: float = 10.0
    largest_face: bool = False
    frame_crop: FrameCrop | None = None
    one_track: bool = False
    min_frames: int = NUM_FRAMES
    squeeze: bool = False

    def __post_init__(self) -> None:
        """Makes a tuple of a list, so that settings can be compared and hashed."""
        if self.frame_crop is not None:
            object.__setattr__(self, "frame_crop", tuple(self.frame_crop))

    @property
    def finds_faces(self) -> bool:
        """False if whole frames are taken as faces."""
        return self.detector != "none"

    def changed(self, **given: object) -> CropSettings:
        """Returns these settings with the given ones that are not None.

        A detector that looks for faces drops `frame_crop` and `squeeze`, unless they are given.
        """
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        finds_faces = values.get("detector", self.detector) != "none"
        return replace(replace(self, frame_crop=None, squeeze=False) if finds_faces else self, **values)

    @classmethod
    def from_geometry(cls, geometry: Mapping[str, Any], detector_model: str | None = None) -> CropSettings:
        """Returns the settings that cut faces as those of an index were cut.

        Args:
            geometry: The `geometry` of an index: `detector`, `size`, `margin`, and `squeezed` if True.
            detector_model: The YuNet .onnx file, which an index does not hold.
        """
        return cls(
            detector=geometry["detector"],
            detector_model=detector_model,
            size=geometry["size"],
            margin=geometry["margin"],
            squeeze=geometry.get("squeezed", False),
        )
