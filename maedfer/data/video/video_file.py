"""Reading a video from its first frame to its last: any codec, upright pictures, real timestamps, bounded
memory.

Times come from the presentation timestamps, so odd and variable frame rates need no care by the caller. The
container's own frame count is never believed: frames are decoded until none is left. Packets that do not
decode and frames that the decoder marks as damaged are left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np

THUMBNAIL = (48, 32)
"""Width and height of the pictures that shot changes are looked for in."""


class UnreadableVideo(ValueError):
    """A source without a single frame to decode; the message is the reason for the report."""


class Frame(Protocol):
    """One frame of a source.

    `time_s` counts from the start of the source. `width` and `height` are those of the upright picture with
    square pixels.
    """

    time_s: float
    width: int
    height: int

    def picture(self, max_side: int | None = None) -> np.ndarray:
        """Upright uint8 RGB (H, W, 3); with `max_side` reduced so that its longer side is at most that."""
        ...

    def thumbnail(self) -> np.ndarray:
        """A cheap uint8 RGB (32, 48, 3), not turned upright: only its colours count."""
        ...


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame of a video, converted to pixels only when asked; see `Frame`."""

    time_s: float
    width: int
    height: int
    quarter_turns: int
    decoded: av.VideoFrame

    def picture(self, max_side: int | None = None) -> np.ndarray:
        """Upright uint8 RGB (H, W, 3); with `max_side` reduced so that its longer side is at most that."""
        scale = min(1.0, (max_side or math.inf) / max(self.width, self.height))
        size = [max(1, round(side * scale)) for side in (self.width, self.height)]
        width, height = size[::-1] if self.quarter_turns % 2 else size
        kernel = "AREA" if scale < 1 else "BILINEAR"
        pixels = self._converted(width, height, kernel)
        return np.ascontiguousarray(np.rot90(pixels, self.quarter_turns))

    def thumbnail(self) -> np.ndarray:
        """A cheap uint8 RGB (32, 48, 3), not turned upright: only its colours count."""
        return self._converted(*THUMBNAIL, "FAST_BILINEAR")

    def _converted(self, width: int, height: int, kernel: str) -> np.ndarray:
        """RGB of a size. One thread: starting several takes longer than the work on a frame."""
        frame = self.decoded.reformat(width, height, "rgb24", interpolation=kernel, threads=1)
        return frame.to_ndarray()


class VideoFile:
    """A video that is read in passes from start to end; each pass opens the file anew.

    Attributes:
        damaged: Packets and frames that the last pass had to leave out.
        promised: Frames that the container says it holds; 0 when it says nothing.
        pieces: What `damaged` counts.
    """

    pieces = "packets"

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.damaged = 0
        self.promised = 0

    def frames(
        self,
        start_s: float = 0.0,
        end_s: float = math.inf,
        on_frame: Callable[[], object] = lambda: None,
    ) -> Iterator[Frame]:
        """Decode the frames from `start_s` to `end_s` (both included), times rising.

        Args:
            start_s: Seconds; the pass starts decoding at the key frame before it.
            end_s: Seconds.
            on_frame: Called for every decoded frame, also those before `start_s`: a sign of life.

        Raises:
            UnreadableVideo: the file cannot be opened, or has no video stream.
        """
        self.damaged = 0
        with _open(self.path) as container:
            stream = _video_stream(container)
            self.promised = stream.frames
            if start_s > 1:
                _seek(container, stream, start_s)
            last = -math.inf
            for frame, time_s in self._decode(container, stream):
                on_frame()
                if time_s > end_s:
                    return
                if time_s <= last or time_s < start_s - 1e-6:
                    continue
                last = time_s
                yield _upright(frame, stream, time_s)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[av.VideoFrame, float]]:
        """Decode packet by packet, so that a damaged one costs its own frames and not the rest of the
        file."""
        interval = 1 / float(stream.average_rate or 25)
        origin = stream.start_time or 0
        time_s = -interval
        for packet in _packets(container, stream):
            try:
                frames = packet.decode() if packet is not None else stream.decode(None)
            except av.error.FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                    continue
                known = frame.pts is not None and frame.time_base is not None
                time_s = float((frame.pts - origin) * frame.time_base) if known else time_s + interval
                yield frame, time_s


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet | None]:
    """The packets of the stream; a container that breaks off in the middle ends there."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        yield None  # the decoder still holds the frames before the break


def _open(path: str) -> av.container.InputContainer:
    try:
        return av.open(path, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if Path(path).is_file() and not Path(path).stat().st_size:
            raise UnreadableVideo("empty file") from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableVideo(f"cannot be opened: {reason}") from error


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The largest moving picture of the file; cover art is none."""
    still = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & still]
    if not streams:
        raise UnreadableVideo("no video stream")
    stream = max(streams, key=lambda each: (each.width or 0) * (each.height or 0))
    # one worker process per core makes use of the cores
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def _seek(container: av.container.InputContainer, stream: av.VideoStream, start_s: float) -> None:
    """Go to the key frame before `start_s`; a container that cannot is read from its start."""
    try:
        container.seek(int(start_s / stream.time_base) + (stream.start_time or 0), stream=stream)
    except av.error.FFmpegError:
        container.seek(0)


def _upright(frame: av.VideoFrame, stream: av.VideoStream, time_s: float) -> VideoFrame:
    """Note how the picture is to be turned (display matrix) and widened (sample aspect ratio) to be seen
    upright."""
    ratio = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = max(1, round(frame.width * ratio)), frame.height
    turns = round(frame.rotation / 90) % 4
    if turns % 2:
        width, height = height, width
    return VideoFrame(time_s, width, height, turns, frame)
