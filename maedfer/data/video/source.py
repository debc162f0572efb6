"""A video (or a folder of images), or a span of one, and what is known about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maedfer.data.video.image_folder import FOLDER_FPS

_SUFFIXES = (
    ".3gp .asf .avi .divx .dv .f4v .flv .gif .h264 .h265 .hevc .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov "
    ".mp4 .mpe .mpeg .mpg .mts .mxf .ogm .ogv .rm .rmvb .ts .vob .webm .wmv .y4m"
)


VIDEO_SUFFIXES = frozenset(_SUFFIXES.split())
"""What is taken from a folder; a file that is named itself may be called anything."""


@dataclass(frozen=True)
class Source:
    """One row of work: a video (or a folder of frames), or a span of one, and what is known about it.

    `name` is what is recorded, `path` where it lies on this machine. `label` is the name of its label; its
    place among the classes is decided over all sources. `votes` are those of its raters by the names of the
    labels, `fps` the frames per second of a folder of frames.
    """

    name: str
    path: str
    start_s: float | None = None
    end_s: float | None = None
    label: str | None = None
    fold: str | int | None = None
    subject: str | None = None
    split: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    votes: Mapping[str, float] | None = None
    fps: float = FOLDER_FPS

    @property
    def title(self) -> str:
        """The name, with the span where only a span is meant: one title per line of the report."""
        if self.start_s is None and self.end_s is None:
            return self.name
        return f"{self.name}[{self.start_s or 0:g}-{'' if self.end_s is None else format(self.end_s, 'g')}]"


def is_video(name: str) -> bool:
    """Whether a file of this name is taken from a folder as a video."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES
