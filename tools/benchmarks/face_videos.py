"""Face videos as VoxCeleb2 distributes them: 224 px, 25 frames per second, H.264 with a key frame every 250.

They are the common source of all ways to load clips. Without a folder of real videos they are drawn, with
camera noise of a strength that gives them about as many bytes as VoxCeleb2 has (17 KiB per second).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
from tqdm import tqdm

from maedfer.data.faces.crops import cut_area
from maedfer.data.synthetic.camera import backdrop, draw_light, record
from maedfer.data.synthetic.difficulty import PRESETS
from maedfer.data.synthetic.drawing import canvas_size, face_shapes, paint
from maedfer.data.synthetic.expressions import CLASSES, draw_performance
from maedfer.data.synthetic.faces import draw_identity
from maedfer.data.synthetic.nuisance import head_pose, nuisance_curves
from maedfer.data.video.video import UnreadableVideo
from maedfer.data.video.video_file import VideoFile
from maedfer.errors import UserError

SIDE = 224
RATE = 25
X264 = {"preset": "medium", "crf": "23", "g": "250"}
"""x264's own defaults, B-frames among them."""

CAMERA = replace(PRESETS["messy"], noise=6.4, blur=0.003, jpeg=0)
"""How faces are drawn. At this noise x264 makes 17 KiB of a second."""

VIDEO_ENDINGS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


def face_videos(cache: Path, folder: Path | None, count: int, seconds: float) -> list[Path]:
    """The source videos, made once and kept for the next run.

    Args:
        cache: where they are kept, under a name that tells their settings.
        folder: real videos to take (central square); None draws faces.
        count: videos, at most; all different.
        seconds: their length. Shorter real ones are played forth and back.

    Raises:
        UserError: no video of the folder can be used, or a number is too small.
    """
    if count < 1 or seconds < 3:
        raise UserError("tracks", f"{count} must be 1 or more, `track_seconds={seconds}` 3 or more")
    found = [] if folder is None else _videos_in(folder)
    states = [(str(path), path.stat().st_size, path.stat().st_mtime) for path in found]
    kind = "drawn" if folder is None else "real"
    here = sys.modules[__name__]
    made = kept(cache, f"{kind}-{count}x{seconds:g}s", [X264, repr(CAMERA), states, source_of(here)])
    if not made.is_dir():
        part = made.with_name(f"{made.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        frames = round(seconds * RATE)
        clips = _drawn(count, frames) if folder is None else _real(found, frames)
        _write_all(part, clips, count)
        part.rename(made)
    return sorted(made.glob("*.mp4"))


def kept(cache: Path, name: str, settings: Any) -> Path:
    """A folder of the cache whose name holds a hash of everything that decides its content."""
    digest = hashlib.sha256(json.dumps(settings, default=str).encode()).hexdigest()
    return cache / f"{name}-{digest[:8]}"


def source_of(*modules: ModuleType) -> str:
    """A hash of the text of modules: what they made is made anew when they change."""
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in modules)).hexdigest()


def kib_per_second(videos: Sequence[Path], seconds: float) -> float:
    """Mean KiB of a second of video."""
    return sum(path.stat().st_size for path in videos) / len(videos) / seconds / 1024


def describe_videos(kind: str, videos: Sequence[Path], seconds: float) -> str:
    """The source in words, for a title."""
    return f"{len(videos)} {kind} faces of {seconds:g} s, {kib_per_second(videos, seconds):.1f} KiB/s"


def _videos_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError("videos", f"{folder} is not a folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_ENDINGS)
    if not found:
        raise UserError("videos", f"{folder} has no video ({', '.join(VIDEO_ENDINGS)})")
    return found


def _write_all(folder: Path, clips: Iterable[np.ndarray], count: int) -> None:
    """Write up to `count` clips as numbered videos."""
    written = 0
    with tqdm(total=count, desc="source videos", unit="video") as bar:
        for written, frames in enumerate(clips, start=1):
            write_video(folder / f"face{written:04d}.mp4", frames)
            bar.update()
            if written == count:
                return
    if not written:
        raise UserError("videos", "none of the videos can be read")


def write_video(path: Path, frames: np.ndarray) -> None:
    """Encode uint8 RGB (F, H, W, 3) as VoxCeleb2 is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=X264)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _drawn(count: int, frames: int) -> Iterable[np.ndarray]:
    return (draw_face(number, frames) for number in range(count))


def draw_face(number: int, frames: int) -> np.ndarray:
    """A person who plays an expression again and again, uint8 RGB (F, 224, 224, 3).

    The same steps as in `SyntheticFaces`, which stops at 160 px.
    """
    times = np.arange(frames) / RATE
    rng = np.random.default_rng([number, SIDE])
    person = draw_identity(CAMERA, rng)
    playing = draw_performance(number % len(CLASSES), CAMERA, rng)
    move = nuisance_curves(times, CAMERA, rng).plus(playing.curves(times))
    pose = head_pose(times, CAMERA, rng)
    light = draw_light(CAMERA, rng)
    behind = backdrop(person.backdrop, CAMERA, canvas_size(SIDE), rng)
    painted = paint(face_shapes(person, move, light.side), pose, behind, SIDE)
    return record(painted, times, light, CAMERA, rng)


def _real(paths: Sequence[Path], frames: int) -> Iterable[np.ndarray]:
    """The videos of a folder that can be read, squared, at 224 px and of one length."""
    for path in paths:
        try:
            pictures = square_frames(path, frames)
        except UnreadableVideo:
            continue
        if len(pictures) > 1:
            yield pictures[forth_and_back(len(pictures), frames)]


def square_frames(path: Path, most: int | None = None, side: int = SIDE) -> np.ndarray:
    """The central squares of the (first `most`) frames of a video, uint8 RGB (F, side, side, 3).

    Reduced as `maedfer pack` does it. Frames are taken as they come: a rate other than 25 makes a face
    move at another speed, no more.
    """
    frames = islice(VideoFile(path).frames(), most)
    pictures = [_central_square(frame.picture(), side) for frame in frames]
    return np.stack(pictures) if pictures else np.empty((0, side, side, 3), np.uint8)


def _central_square(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    return cut_area(picture, np.array([width / 2, height / 2, *[min(width, height)] * 2]), 0.0, side)


def forth_and_back(have: int, want: int) -> np.ndarray:
    """Numbers of the frames of a video of `have` > 1 frames that fill `want`: 0 1 2 1 0 1 for 3 and 6."""
    position = np.arange(want) % (2 * have - 2)
    return np.minimum(position, 2 * have - 2 - position)
