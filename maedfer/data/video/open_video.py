"""Opens a path as a video: a folder of images or a video file."""

from __future__ import annotations

import os
from pathlib import Path

from maedfer.data.video.image_folder import FOLDER_FPS, ImageFolder
from maedfer.data.video.video import Video
from maedfer.data.video.video_file import VideoFile


def open_video(path: str | Path, fps: float = FOLDER_FPS) -> Video:
    """Returns the video of a path, without reading it yet.

    Args:
        path: A video file, or a folder of images.
        fps: Frames per second of a folder of images.
    """
    return ImageFolder(path, fps) if os.path.isdir(path) else VideoFile(path)
