"""Face detectors behind one small protocol, so that tracking and cropping do not care which one found the
face.

`haar` needs nothing but OpenCV 4 (Viola and Jones, 2001) and gives boxes. `yunet` (Wu et al., 2023) needs a
model file from the user, finds more faces, and gives eyes, so that crops can be turned upright. `none` is for
videos that already are face crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

DetectorName = Literal["haar", "yunet", "none"]


@dataclass(frozen=True)
class Detection:
    """One face in one picture.

    `box` is (x, y, w, h) in pixels of that picture, `eyes` a float array (2, 2) with the picture's left and
    right eye as (x, y) rows, or None when the detector does not know; `score` compares detections of one
    detector.
    """

    box: tuple[float, float, float, float]
    eyes: np.ndarray | None
    score: float


class Detector(Protocol):
    """What tracking needs of a detector.

    `finds_faces` is False for one that does not look at the picture (and then is given none, only its size).
    """

    name: str
    finds_faces: bool
    max_side: int

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Find the faces of a uint8 RGB picture (H, W, 3), whose longer side is at most `max_side`."""
        ...


class HaarDetector:
    """OpenCV's frontal face cascade, made strict.

    A cascade alone finds faces in foliage and clothes. Three things keep those out: many agreeing windows
    (`MIN_NEIGHBOURS`), a second cascade that was trained otherwise and must agree on the spot, and in
    `tracks` the rule that a face must be seen again and again. Eyes are not asked for: their cascades fail on
    closed eyes.
    """

    name = "haar"
    finds_faces = True
    max_side = 640
    MIN_NEIGHBOURS = 6
    MIN_SHARE = 1 / 20
    """Smallest face, as a share of the picture's longer side: small windows cost most and are wrong most."""

    def __init__(self) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise ValueError(
                "--detector haar needs OpenCV 4 (this is 5, which has no cascades): take --detector yunet"
            )
        self._first = _cascade("haarcascade_frontalface_alt2.xml")
        self._second = _cascade("haarcascade_frontalface_default.xml")

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Boxes that both cascades agree on; see `Detector.detect`."""
        grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        smallest = max(24, int(self.MIN_SHARE * max(grey.shape)))
        boxes, _, weights = self._first.detectMultiScale3(
            grey, 1.1, self.MIN_NEIGHBOURS, minSize=(smallest, smallest), outputRejectLevels=True
        )
        pairs = zip(boxes, weights, strict=True)
        found = [Detection(tuple(map(float, box)), None, float(weight)) for box, weight in pairs]
        return [face for face in suppress(found) if self._confirmed(grey, face.box)]

    def _confirmed(self, grey: np.ndarray, box: tuple[float, float, float, float]) -> bool:
        """Whether the second cascade, looking only around the box, sees a face of about this size there."""
        x, y, w, h = (int(value) for value in box)
        pad = w // 4
        around = grey[max(0, y - pad) : y + h + pad, max(0, x - pad) : x + w + pad]
        sizes = {"minSize": (int(0.6 * w),) * 2, "maxSize": (int(1.5 * w),) * 2}
        return len(self._second.detectMultiScale(around, 1.05, 3, **sizes)) > 0


class YuNetDetector:
    """The YuNet network through `cv2.FaceDetectorYN`, with a model file that the user gives."""

    name = "yunet"
    finds_faces = True
    max_side = 640
    MIN_SCORE = 0.7

    def __init__(self, model: str | Path) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(f"--detector-model {model} does not exist: give the YuNet .onnx file")
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), self.MIN_SCORE, 0.3, 200)
        except cv2.error as error:
            raise ValueError(f"--detector-model {model} is not a YuNet .onnx file: {error.err}") from error

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """Faces with eyes; see `Detector.detect`."""
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        rows = self._net.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        return [_from_row(row) for row in (() if rows is None else rows)]


class WholeFrame:
    """The picture is the face: its centred square or a square part of that, nothing is looked for.

    Args:
        part: left, top, width and height in shares of the square.
        squeeze: The square is the whole frame, squeezed to one.
    """

    name = "none"
    finds_faces = False
    max_side = 1

    def __init__(self, part: Sequence[float] | None = None, squeeze: bool = False) -> None:
        part = (0.0, 0.0, 1.0, 1.0) if part is None else part
        left, top, width, height = part
        inside = min(left, top) >= 0 and max(left + width, top + height) <= 1 + 1e-6
        if not inside or width <= 0 or abs(width - height) > 1e-6:
            raise ValueError(
                f"--frame-crop {list(part)} must be left, top, width, height in shares of the largest "
                "centred square of the frame: inside it, width and height the same"
            )
        self._part, self._squeeze = (left, top, width), squeeze

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """The square, whatever is in it; see `Detector.detect`."""
        height, width = picture.shape[:2]
        across, down = (width, height) if self._squeeze else (min(height, width),) * 2
        left, top, share = self._part
        corner = (width - across) / 2 + left * across, (height - down) / 2 + top * down
        return [Detection((*corner, share * across, share * down), None, 1.0)]


def make_detector(
    name: DetectorName,
    model: str | Path | None = None,
    frame_crop: Sequence[float] | None = None,
    squeeze: bool = False,
) -> Detector:
    """Build a detector.

    Args:
        name: Which one.
        model: The YuNet file; only `yunet` takes one.
        frame_crop: The part of the frame to take; only `none` takes one, see `WholeFrame`.
        squeeze: Whether a frame that is no square is squeezed to one; only `none` does.

    Raises:
        ValueError: an unknown name, a model where none is used, or none where one is needed; a part that is
            no square in the frame, or for a detector that looks for faces.
        FileNotFoundError: the model file is missing.
    """
    if name != "none" and (frame_crop is not None or squeeze):
        flag = "--squeeze" if frame_crop is None else "--frame-crop"
        raise ValueError(f"{flag} is for --detector none: {name} finds out where to crop")
    if name == "yunet":
        if model is None:
            raise ValueError(
                "--detector yunet needs --detector-model FILE, the YuNet .onnx (OpenCV model zoo)"
            )
        return YuNetDetector(model)
    if model is not None:
        raise ValueError(f"--detector-model is for --detector yunet, not for {name}")
    if name not in ("haar", "none"):
        raise ValueError(f"--detector {name} is unknown: take haar, yunet or none")
    return HaarDetector() if name == "haar" else WholeFrame(frame_crop, squeeze)


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union of two (x, y, w, h) boxes, 0 to 1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (first[2] * first[3] + second[2] * second[3] - both)


def suppress(found: list[Detection], limit: float = 0.3) -> list[Detection]:
    """Keep the best of detections that overlap by more than `limit` or of which one lies within the other."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda each: -each.score):
        if all(overlap(face.box, other.box) <= limit and not _within(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def _within(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Whether the centre of the smaller box lies in the larger one."""
    small, large = sorted((first, second), key=lambda box: box[2] * box[3])
    x, y = small[0] + small[2] / 2 - large[0], small[1] + small[3] / 2 - large[1]
    return 0 <= x <= large[2] and 0 <= y <= large[3]


def _from_row(row: np.ndarray) -> Detection:
    """A row of YuNet: box, five landmarks (the person's right eye, left eye, nose, mouth corners), score."""
    values = row.astype(float)
    return Detection(tuple(values[:4]), values[4:8].reshape(2, 2), float(values[14]))


def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name))
