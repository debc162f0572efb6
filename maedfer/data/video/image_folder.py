"""Reads a clip that is distributed as a folder of images, like a video.

Images are taken in the order of their names, numbers as numbers (`9.jpg` before `10.jpg`), at a rate that the
caller gives, as a folder has none. Images that cannot be decoded are counted and skipped as if they were not
there. An image of another size than the first one is stretched to it, as frames of a video have one size.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maedfer.data.video.video import THUMBNAIL, WHOLE, Frame, Span, UnreadableVideo

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))

FOLDER_FPS = 25.0
"""Frames per second of a folder for which no rate is given."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def is_frame(name: str) -> bool:
    """Returns True for the name of an image, unless it is hidden (such as macOS's `._1.jpg`)."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def frame_names(folder: str | Path) -> list[str]:
    """Returns the names of the images of a folder, in the order of the clip.

    Raises:
        OSError: the folder cannot be listed.
    """
    return sorted(filter(is_frame, os.listdir(folder)), key=_natural)


def has_frames(folder: str | Path) -> bool:
    """Returns True if a path is a folder that holds an image."""
    try:
        with os.scandir(folder) as entries:
            return any(is_frame(entry.name) for entry in entries)
    except OSError:
        return False


def folder_fingerprint(folder: str | Path) -> str:
    """Hashes names and sizes of the images of a folder, and the content of the first and the last.

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
class FolderFrame(Frame):
    """An image of a folder; see `Frame`."""

    pixels: np.ndarray

    def picture(self, max_side: int | None = None) -> np.ndarray:
        """Returns the picture; see `Frame.picture`."""
        size = self.reduced_size(max_side)
        same = size == (self.width, self.height)
        return self.pixels if same else cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)

    def thumbnail(self) -> np.ndarray:
        """Returns a small picture; see `Frame.thumbnail`."""
        return cv2.resize(self.pixels, THUMBNAIL, interpolation=cv2.INTER_AREA)


class ImageFolder:
    """A folder of images, the first of which is at 0 s; see `Video`."""

    pieces = "images"

    def __init__(self, path: str | Path, fps: float = FOLDER_FPS) -> None:
        self.path = str(path)
        self.fps = fps
        self.damaged = self.promised = 0

    def frames(self, span: Span = WHOLE, on_frame: Callable[[], object] = lambda: None) -> Iterator[Frame]:
        """Decodes images; see `Video.frames`."""
        self.damaged = 0
        size: tuple[int, int] | None = None
        # starts at the first image, so that the time of a frame does not depend on where a pass begins
        for number, name in enumerate(self._names()):
            time_s = (number - self.damaged) / self.fps
            if time_s > span[1] + 1e-6:
                return
            on_frame()
            pixels = _decode(os.path.join(self.path, name))
            if pixels is None:
                self.damaged += 1
                continue
            size = size or (pixels.shape[1], pixels.shape[0])
            if time_s >= span[0] - 1e-6:
                same = pixels.shape[1::-1] == size
                yield FolderFrame(time_s, *size, pixels if same else cv2.resize(pixels, size))

    def _names(self) -> list[str]:
        try:
            names = frame_names(self.path)
        except OSError as error:
            raise UnreadableVideo(None, f"cannot be opened: {error.strerror}") from error
        if not names:
            raise UnreadableVideo(None, "no image in the folder")
        return names


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Returns the sort key of a name in which runs of digits count as numbers."""
    pieces = re.split(r"(\d+)", name.lower())
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces], name


def _decode(path: str) -> np.ndarray | None:
    """Decodes an image to upright uint8 RGB (H, W, 3); None if it is damaged or cut short."""
    try:
        data = Path(path).read_bytes()
        # some versions of OpenCV fill a JPEG that was cut short with grey
        if data[:2] == _JPEG_START and _JPEG_END not in data[-1024:]:
            return None
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except (OSError, cv2.error):
        return None
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
