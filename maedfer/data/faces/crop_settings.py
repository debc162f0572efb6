"""The settings that decide where and how faces are cut out of a video."""

from __future__ import annotations

from dataclasses import dataclass

from maedfer.constants import NUM_FRAMES, STORED_FPS
from maedfer.data.faces.detectors import DetectorName


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
        frame_crop: left, top, width, height in shares of the centred square; only for `none`.
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
    frame_crop: tuple[float, float, float, float] | None = None
    one_track: bool = False
    min_frames: int = NUM_FRAMES
    squeeze: bool = False
