"""The description of a source to pack: a video or a folder of images, a span of it, and its labels."""

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
"""Suffixes of the videos that are taken from a folder; a file named by the user may have any."""


@dataclass(frozen=True)
class Source:
    """A video (or a folder of images), or a span of one, with its labels.

    Attributes:
        name: The name that is recorded, the same on every machine.
        path: Its path on this machine.
        start_s: Start of the span in seconds; None for the whole.
        end_s: End of the span in seconds; None for the whole.
        label: Name of its label; the index among the classes is decided over all sources.
        fold: Cross-validation fold.
        subject: The person that is seen.
        split: The split it belongs to; None leaves it to the command.
        metadata: Further columns of its list, plain JSON values.
        votes: Votes of raters by the names of the labels.
        fps: Frames per second, if it is a folder of images.
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
        """The name, followed by the span if it has one; the title of its line in the report."""
        if self.start_s is None and self.end_s is None:
            return self.name
        return f"{self.name}[{self.start_s or 0:g}-{'' if self.end_s is None else format(self.end_s, 'g')}]"


def is_video(name: str) -> bool:
    """Returns True for a file name that is taken from a folder as a video."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES
