"""Face detectors behind one small protocol, on which tracking and cropping rely.

`haar` needs only OpenCV 4 (Viola and Jones, 2001) and returns boxes. `yunet` (Wu et al., 2023) needs a model
file from the user, finds more faces, and returns eyes, so that crops can be turned upright. `none` is for
videos that already are face crops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from maedfer.data.faces.crop_settings import CropSettings, FrameCrop
from maedfer.errors import UserError

Box = tuple[float, float, float, float]
"""(x, y, w, h) in pixels."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face in one picture.

    Attributes:
        box: Its box in pixels of that picture.
        eyes: float (2, 2), the left and the right eye of the picture as (x, y) rows; None without landmarks.
        score: Compares detections of one detector.
    """

    box: Box
    eyes: np.ndarray | None
    score: float


class Detector(Protocol):
    """A detector, as tracking uses it.

    Attributes:
        finds_faces: False if it uses only the size of a picture, which is then empty.
        max_side: Longer side of the pictures it is given, at most.
    """

    finds_faces: bool
    max_side: int

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Finds the faces of a uint8 RGB picture (H, W, 3), whose longer side is at most `max_side`."""
        ...


class HaarDetector:
    """OpenCV's frontal face cascade, made strict.

    A cascade alone finds faces in foliage and clothes. Three conditions exclude these: many agreeing windows
    (`MIN_NEIGHBOURS`), a second, differently trained cascade that must agree on the place, and repeated
    detection over time (`tracks`). Eyes are not required, as their cascades fail on closed eyes.
    """

    finds_faces = True
    max_side = 640
    MIN_NEIGHBOURS = 6
    MIN_SHARE = 1 / 20
    """Smallest face, as a share of the picture's longer side: small windows cost most and are wrong most."""

    def __init__(self) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise UserError("detector", "haar needs OpenCV 4 (OpenCV 5 has no cascades): take yunet")
        self._first = _cascade("haarcascade_frontalface_alt2.xml")
        self._second = _cascade("haarcascade_frontalface_default.xml")

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Returns the boxes that both cascades agree on; see `Detector.detect`."""
        grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        smallest = max(24, int(self.MIN_SHARE * max(grey.shape)))
        boxes, _, weights = self._first.detectMultiScale3(
            grey, 1.1, self.MIN_NEIGHBOURS, minSize=(smallest, smallest), outputRejectLevels=True
        )
        found = [Detection(as_box(box), None, float(by)) for box, by in zip(boxes, weights, strict=True)]
        return [face for face in suppress(found) if self._confirmed(grey, face.box)]

    def _confirmed(self, grey: np.ndarray, box: Box) -> bool:
        """Returns True if the second cascade finds a face of about this size around the box."""
        x, y, w, h = (int(value) for value in box)
        pad = w // 4
        around = grey[max(0, y - pad) : y + h + pad, max(0, x - pad) : x + w + pad]
        smallest, largest = int(0.6 * w), int(1.5 * w)
        faces = self._second.detectMultiScale(
            around, 1.05, 3, minSize=(smallest, smallest), maxSize=(largest, largest)
        )
        return len(faces) > 0


class YuNetDetector:
    """The YuNet network in `cv2.FaceDetectorYN`, with a model file from the user."""

    finds_faces = True
    max_side = 640
    MIN_SCORE = 0.7

    def __init__(self, model: str | Path) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(f"`detector_model` {model} does not exist: give the YuNet .onnx file")
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), self.MIN_SCORE, 0.3, 200)
        except cv2.error as error:
            raise UserError("detector_model", f"{model} is not a YuNet .onnx file: {error.err}") from error

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Returns faces with eyes; see `Detector.detect`."""
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        rows = self._net.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        # a row: box, the person's right and left eye, nose and corners of the mouth, score
        values = [] if rows is None else rows.astype(float)
        return [Detection(as_box(row[:4]), row[4:8].reshape(2, 2), float(row[14])) for row in values]


class WholeFrame:
    """Takes the picture as the face: its centred square, or a square part of that.

    Args:
        part: left, top, width and height in shares of the square.
        squeeze: Squeeze the whole frame to a square instead of taking its centre.
    """

    finds_faces = False
    max_side = 1

    def __init__(self, part: FrameCrop | None = None, squeeze: bool = False) -> None:
        left, top, width, height = part = (0.0, 0.0, 1.0, 1.0) if part is None else part
        inside = min(left, top) >= 0 and max(left + width, top + height) <= 1 + 1e-6
        if not inside or width <= 0 or abs(width - height) > 1e-6:
            raise UserError(
                "frame_crop",
                f"{list(part)} must be left, top, width, height in shares of the centred square of the "
                "frame: inside it, and width equal to height",
            )
        self._part, self._squeeze = (left, top, width), squeeze

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Returns the square; see `Detector.detect`."""
        height, width = picture.shape[:2]
        across, down = (width, height) if self._squeeze else (min(height, width),) * 2
        left, top, share = self._part
        x, y = (width - across) / 2 + left * across, (height - down) / 2 + top * down
        return [Detection((x, y, share * across, share * down), None, 1.0)]


@cache
def make_detector(crop: CropSettings) -> Detector:
    """Returns the detector of some settings; it is kept, as loading a model takes longer than a short clip.

    Raises:
        UserError: an unknown name, or an option that is missing, wrong, or of another detector.
        FileNotFoundError: the model file is missing.
    """
    if crop.finds_faces and (crop.frame_crop is not None or crop.squeeze):
        option = "squeeze" if crop.frame_crop is None else "frame_crop"
        raise UserError(option, f"works only with `detector` none: {crop.detector} decides where to crop")
    if crop.detector == "yunet":
        if crop.detector_model is None:
            raise UserError(
                "detector_model", "`detector` yunet needs the YuNet .onnx file (OpenCV model zoo)"
            )
        return YuNetDetector(crop.detector_model)
    if crop.detector_model is not None:
        raise UserError("detector_model", f"works only with `detector` yunet, not with {crop.detector}")
    if crop.detector not in ("haar", "none"):
        raise UserError("detector", f"{crop.detector} is unknown: take haar, yunet or none")
    return HaarDetector() if crop.detector == "haar" else WholeFrame(crop.frame_crop, crop.squeeze)


def overlap(first: Box, second: Box) -> float:
    """Returns the intersection over union of two boxes, 0 to 1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (first[2] * first[3] + second[2] * second[3] - both)


def suppress(found: list[Detection], limit: float = 0.3) -> list[Detection]:
    """Keeps the best of detections that overlap by more than `limit` or lie within each other."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda each: -each.score):
        if all(overlap(face.box, other.box) <= limit and not _within(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def as_box(values: Iterable[float]) -> Box:
    """Returns four numbers as a box of plain floats."""
    x, y, w, h = (float(value) for value in values)
    return x, y, w, h


def _within(first: Box, second: Box) -> bool:
    """Returns True if the centre of the smaller box lies in the larger one."""
    small, large = sorted((first, second), key=lambda box: box[2] * box[3])
    x, y = small[0] + small[2] / 2 - large[0], small[1] + small[3] / 2 - large[1]
    return 0 <= x <= large[2] and 0 <= y <= large[3]


def _cascade(name: str) -> cv2.CascadeClassifier:
    folder = cv2.data.haarcascades  # type: ignore[attr-defined]  # OpenCV ships no stub of this module
    return cv2.CascadeClassifier(str(Path(folder) / name))
