"""Videos and their frames, as video files and folders of images share them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from maedfer.errors import UserError

Span = tuple[float, float]
"""Start and end of a part of a source in seconds, both included."""

WHOLE: Span = (0.0, math.inf)

THUMBNAIL = (48, 32)
"""Width and height of the pictures in which shot changes are detected."""


class UnreadableVideo(UserError):
    """Reports a source without a single frame to decode; its message is the reason in the pack report."""


@dataclass(frozen=True)
class Frame(ABC):
    """A frame of a source.

    Attributes:
        time_s: Seconds from the start of the source.
        width: Width of the upright picture with square pixels.
        height: Its height.
    """

    time_s: float
    width: int
    height: int

    def reduced_size(self, max_side: int | None) -> tuple[int, int]:
        """Returns width and height, reduced so that the longer one is at most `max_side`."""
        scale = min(1.0, (max_side or math.inf) / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    @abstractmethod
    def picture(self, max_side: int | None = None) -> np.ndarray:
        """Returns upright uint8 RGB (H, W, 3), reduced so that the longer side is at most `max_side`."""

    @abstractmethod
    def thumbnail(self) -> np.ndarray:
        """Returns a cheap uint8 RGB (32, 48, 3), not turned upright, for comparing colours."""


class Video(Protocol):
    """A source that is read in passes from start to end.

    Attributes:
        damaged: Packets or images that the last pass left out because they do not decode.
        promised: Frames that the container claims to hold; 0 where it makes no claim.
        pieces: The unit of `damaged`, for messages.
    """

    damaged: int
    promised: int
    pieces: str

    def frames(self, span: Span = WHOLE, on_frame: Callable[[], object] = lambda: None) -> Iterator[Frame]:
        """Decodes the frames of a span, times strictly rising.

        Args:
            span: Start and end (both included) in seconds from the start of the source.
            on_frame: Called for every decoded frame, also for those before the span, as a sign of life.

        Raises:
            UnreadableVideo: the source cannot be opened, or holds no picture.
        """
        ...
