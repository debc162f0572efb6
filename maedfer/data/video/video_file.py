"""Reads a video from its first frame to its last: any codec, upright pictures, real timestamps, bounded
memory.

Times come from the presentation timestamps, so callers need no special care for odd or variable frame rates.
The container's own frame count is not trusted: frames are decoded until the stream ends. Packets that do not
decode and frames that the decoder marks as damaged are left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from maedfer.data.video.video import THUMBNAIL, WHOLE, Frame, Span, UnreadableVideo


@dataclass(frozen=True)
class VideoFrame(Frame):
    """A decoded frame of a video, converted to pixels only on request; see `Frame`."""

    quarter_turns: int
    decoded: av.VideoFrame

    def picture(self, max_side: int | None = None) -> np.ndarray:
        """Returns the upright picture; see `Frame.picture`."""
        size = self.reduced_size(max_side)
        width, height = size[::-1] if self.quarter_turns % 2 else size
        kernel = "BILINEAR" if size == (self.width, self.height) else "AREA"
        pixels = self._converted(width, height, kernel)
        return np.ascontiguousarray(np.rot90(pixels, self.quarter_turns))

    def thumbnail(self) -> np.ndarray:
        """Returns a small picture; see `Frame.thumbnail`."""
        return self._converted(*THUMBNAIL, "FAST_BILINEAR")

    def _converted(self, width: int, height: int, kernel: str) -> np.ndarray:
        """Converts to RGB of a size, with one thread: starting several takes longer than the work."""
        frame = self.decoded.reformat(width, height, "rgb24", interpolation=kernel, threads=1)
        return frame.to_ndarray()


class VideoFile:
    """A video file; see `Video`. Each pass opens the file anew."""

    pieces = "packets"

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.damaged = 0
        self.promised = 0

    def frames(self, span: Span = WHOLE, on_frame: Callable[[], object] = lambda: None) -> Iterator[Frame]:
        """Decodes frames, beginning at the key frame before the span; see `Video.frames`."""
        start_s, end_s = span
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
        """Decodes packet by packet, so that a damaged one costs only its own frames."""
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
                if frame.pts is not None and frame.time_base is not None:
                    time_s = float((frame.pts - origin) * frame.time_base)
                else:
                    time_s += interval
                yield frame, time_s


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream] | None]:
    """Yields the packets of the stream, then None where the container breaks off in the middle."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        yield None  # the decoder still holds the frames before the break


def _open(path: str) -> av.container.InputContainer:
    try:
        return av.open(path, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if Path(path).is_file() and not Path(path).stat().st_size:
            raise UnreadableVideo(None, "empty file") from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableVideo(None, f"cannot be opened: {reason}") from error


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Returns the largest moving picture of the file; cover art does not count."""
    still = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & still]
    if not streams:
        raise UnreadableVideo(None, "no video stream")
    stream = max(streams, key=lambda each: (each.width or 0) * (each.height or 0))
    # there is one worker process per core already
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def _seek(container: av.container.InputContainer, stream: av.VideoStream, start_s: float) -> None:
    """Moves to the key frame before `start_s`; a container that cannot seek is read from its start."""
    assert stream.time_base is not None  # only streams that are written lack one
    try:
        container.seek(int(start_s / stream.time_base) + (stream.start_time or 0), stream=stream)
    except av.error.FFmpegError:
        container.seek(0)


def _upright(frame: av.VideoFrame, stream: av.VideoStream, time_s: float) -> VideoFrame:
    """Notes how the picture must be turned (display matrix) and widened (sample aspect ratio)."""
    ratio = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = max(1, round(frame.width * ratio)), frame.height
    turns = round(frame.rotation / 90) % 4
    if turns % 2:
        width, height = height, width
    return VideoFrame(time_s, width, height, turns, frame)
