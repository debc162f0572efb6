"""A clip that is distributed as a folder of images, read like a video.

Images are taken in the order of their names, numbers as numbers (`9.jpg` before `10.jpg`), at a rate that the
caller knows: a folder has none. Images that cannot be decoded are counted and left out as if they were not
there. An image of another size than the first one is stretched to it, as frames of a video are of one size.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maedfer.data.video.video_file import THUMBNAIL, Frame, UnreadableVideo

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))

FOLDER_FPS = 25.0
"""Frames per second that a folder counts as where nothing else is said."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def is_frame(name: str) -> bool:
    """Whether a file of this name is an image; hidden files (such as macOS's `._1.jpg`) are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def frame_names(folder: str | Path) -> list[str]:
    """Names of the images of a folder, in the order of the clip.

    Raises:
        OSError: the folder cannot be listed.
    """
    return sorted(filter(is_frame, os.listdir(folder)), key=_natural)


def has_frames(folder: str | Path) -> bool:
    """Whether a folder holds an image; False for what is no folder."""
    try:
        with os.scandir(folder) as entries:
            return any(is_frame(entry.name) for entry in entries)
    except OSError:
        return False


def folder_fingerprint(folder: str | Path) -> str:
    """A hash that tells folders of one name apart: names and sizes of the images, content of the outer two.

    Raises:
        OSError: the folder cannot be listed.
    """
    digest, names = hashlib.sha256(), frame_names(folder)
    for name in names:
        digest.update(f"{name}:{os.stat(os.path.join(folder, name)).st_size}\n".encode())
    for name in names[:1] + names[-1:]:
        digest.update(Path(folder, name).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class FolderFrame:
    """One image of a folder; see `Frame`."""

    time_s: float
    pixels: np.ndarray

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.pixels.shape[0]

    def picture(self, max_side: int | None = None) -> np.ndarray:
        """uint8 RGB (H, W, 3); with `max_side` reduced so that its longer side is at most that."""
        scale = min(1.0, (max_side or math.inf) / max(self.width, self.height))
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        return self.pixels if scale == 1 else cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)

    def thumbnail(self) -> np.ndarray:
        """A small uint8 RGB (32, 48, 3)."""
        return cv2.resize(self.pixels, THUMBNAIL, interpolation=cv2.INTER_AREA)


class FrameFolder:
    """A folder of images that is read in passes from start to end, as `VideoFile` is.

    Attributes:
        damaged: Images that the last pass had to leave out.
        promised: 0; a folder promises nothing.
        pieces: What `damaged` counts.
    """

    pieces = "images"

    def __init__(self, path: str | Path, fps: float = FOLDER_FPS) -> None:
        self.path = str(path)
        self.fps = fps
        self.damaged = self.promised = 0

    def frames(
        self,
        start_s: float = 0.0,
        end_s: float = math.inf,
        on_frame: Callable[[], object] = lambda: None,
    ) -> Iterator[Frame]:
        """Decode the images from `start_s` to `end_s` (both included).

        Args:
            start_s: Seconds; the first image is at 0.
            end_s: Seconds.
            on_frame: Called for every image, a sign of life.

        Raises:
            UnreadableVideo: the folder cannot be listed, or has no image.
        """
        self.damaged, size = 0, None
        # from the first image on, so that the time of a frame does not depend on where a pass begins
        for number, name in enumerate(self._names()):
            time_s = (number - self.damaged) / self.fps
            if time_s > end_s + 1e-6:
                return
            on_frame()
            pixels = _decode(os.path.join(self.path, name))
            if pixels is None:
                self.damaged += 1
                continue
            size = size or pixels.shape[1::-1]
            if time_s >= start_s - 1e-6:
                same = pixels.shape[1::-1] == size
                yield FolderFrame(time_s, pixels if same else cv2.resize(pixels, size))

    def _names(self) -> list[str]:
        try:
            names = frame_names(self.path)
        except OSError as error:
            raise UnreadableVideo(f"cannot be opened: {error.strerror}") from error
        if not names:
            raise UnreadableVideo("no image in the folder")
        return names


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Order of a name in which runs of digits count as numbers."""
    pieces = re.split(r"(\d+)", name.lower())
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces], name


def _decode(path: str) -> np.ndarray | None:
    """The pixels of an image, uint8 RGB (H, W, 3), upright; None for one that cannot be read to its end."""
    try:
        data = Path(path).read_bytes()
        # some versions of OpenCV fill a JPEG that was cut short with grey
        if data[:2] == _JPEG_START and _JPEG_END not in data[-1024:]:
            return None
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except (OSError, cv2.error):
        return None
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
