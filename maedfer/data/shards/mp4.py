"""Decodes frames of a short mp4 in memory by their numbers, and no more than they need.

The index of the file lists key frames, so decoding starts at the one before a wanted frame and skips gaps
that contain a key frame. This requires that every decoded frame has the timestamp that the index gives for
its number. Where one has another, or does not decode (B-frames, edit lists, fragments), frames are counted
from the start instead.

One thread decodes and converts, as there is a worker on every core: with swscale's default, several threads
per small frame, a conversion takes six times as long. A decoder is kept for the next file of its kind: with
one decoder per file, a worker grows by about 1.5 MB every thousand clips (PyAV 18) and never shrinks.
"""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

_KEY, _DISCARDED = 1, 2
"""FFmpeg's flags of an index entry: a key frame, and a frame that an edit list leaves out."""

_Numbered = Generator[tuple[int, av.VideoFrame], None, None]


class _Decoders(threading.local):
    """Holds the decoders of a thread by codec and extradata."""

    most = 8

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bytes | None], av.VideoCodecContext] = {}

    def take(self, stream: av.VideoStream) -> av.VideoCodecContext:
        """Returns a decoder for this stream in its initial state; `keep` takes it back, unless it failed."""
        described = stream.codec_context
        kept = self._kept.pop((described.name, described.extradata), None)
        if kept is not None:
            kept.flush_buffers()
            return kept
        decoder = av.CodecContext.create(described.name, "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.extradata = described.extradata
        decoder.thread_type, decoder.thread_count = "NONE", 1
        decoder.options = {"err_detect": "explode"}  # a damaged frame is an error, not a guess
        return decoder

    def keep(self, decoder: av.VideoCodecContext) -> None:
        """Keeps a decoder for the next file of its kind, and at most `most` of them."""
        self._kept[decoder.name, decoder.extradata] = decoder
        while len(self._kept) > self.most:
            del self._kept[next(iter(self._kept))]


_decoders = _Decoders()


@dataclass(frozen=True)
class _OpenFile:
    """Holds an open file, its first video stream, and a decoder for that."""

    container: av.container.InputContainer
    stream: av.VideoStream
    decoder: av.VideoCodecContext

    def seek(self, time: int) -> None:
        """Seeks to the key frame at a timestamp of the stream."""
        self.container.seek(time, stream=self.stream)
        self.decoder.flush_buffers()

    def frames(self) -> Generator[av.VideoFrame, None, None]:
        """Yields the frames from here on, in display order."""
        # Closed by hand: a packet that is left when the file closes is never freed.
        packets: Any = self.container.demux(self.stream)  # a generator, which PyAV annotates as an iterator
        with closing(packets):
            for packet in packets:
                yield from self.decoder.decode(packet)  # the last packet is empty and flushes the decoder
                del packet


_Method = Callable[[_OpenFile, Sequence[int]], _Numbered]


class _Unnumbered(Exception):
    """Signals that the index does not number the frames."""


def mp4_frames(data: bytes, count: int, size: tuple[int, int], wanted: Sequence[int]) -> np.ndarray:
    """Decodes frames of the first video stream, of any pixel format and colour range.

    Args:
        data: The file.
        count: Frames it must have.
        size: Height and width they must have.
        wanted: Frame numbers, rising and below `count`.

    Returns:
        uint8 RGB (n, H, W, 3), one frame per number.

    Raises:
        ValueError: it has fewer frames, or one is missing, damaged or of another size.
        av.error.FFmpegError: it does not open, or does not decode.
    """
    try:
        return _read(data, count, size, wanted, _sought)
    except (_Unnumbered, ValueError, av.error.FFmpegError):  # some need frames from before their key frame
        return _read(data, count, size, wanted, _counted)


def _read(
    data: bytes, count: int, size: tuple[int, int], wanted: Sequence[int], method: _Method
) -> np.ndarray:
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        stream = container.streams.video[0]
        if 0 < stream.frames < count:
            raise ValueError(f"{stream.frames} frames, the record says {count}")
        decoder = _decoders.take(stream)
        try:
            with closing(method(_OpenFile(container, stream, decoder), wanted)) as decoded:
                pictures = _pictures(decoded, size, wanted)
        except _Unnumbered:  # the decoder is still good
            _decoders.keep(decoder)
            raise
        _decoders.keep(decoder)
        return pictures


def _pictures(decoded: _Numbered, size: tuple[int, int], wanted: Sequence[int]) -> np.ndarray:
    """Converts the wanted frames among the decoded ones to uint8 RGB (n, H, W, 3).

    Raises:
        ValueError: one is missing, damaged or of another size.
    """
    pictures = np.empty((len(wanted), *size, 3), np.uint8)
    places = {number: place for place, number in enumerate(wanted)}
    reformatter = VideoReformatter()  # one for all: `frame.reformat` makes one for each frame
    for number, frame in decoded:
        if frame.is_corrupt or (frame.height, frame.width) != size:
            state = "damaged" if frame.is_corrupt else f"of {frame.width}x{frame.height}"
            raise ValueError(f"frame {number} is {state}, the record says {size[1]}x{size[0]}")
        if number in places:
            picture = reformatter.reformat(frame, format="rgb24", threads=1)
            pictures[places.pop(number)] = picture.to_ndarray()
        if not places:
            return pictures
    raise ValueError(f"frame {min(places)} is missing")


def _sought(file: _OpenFile, wanted: Sequence[int]) -> _Numbered:
    """Yields frames from the key frame before each wanted one, or from the current one, whichever is nearer.

    Raises:
        _Unnumbered: there is no whole index, or a frame does not have the timestamp of its number.
    """
    times, keys = _index(file.stream)
    at, frames = -1, file.frames()
    for number in wanted:
        key = keys[bisect_right(keys, number) - 1]
        if key > at:
            frames.close()
            file.seek(times[key])
            at, frames = key - 1, file.frames()
        while at < number:
            at, frame = at + 1, next(frames, None)
            if frame is None or frame.pts != times[at]:
                raise _Unnumbered
            yield at, frame


def _index(stream: av.VideoStream) -> tuple[list[int], list[int]]:
    """Returns the timestamps of all frames in decoding order, and the numbers of key frames.

    Raises:
        _Unnumbered: there is no whole index, or frames are left out of it.
    """
    entries = [(entry.timestamp, entry.flags) for entry in stream.index_entries]
    times = [time for time, _ in entries]
    keys = [number for number, (_, flags) in enumerate(entries) if flags & _KEY]
    left_out = any(flags & _DISCARDED for _, flags in entries)
    if left_out or keys[:1] != [0] or not len(times) == len(set(times)) == stream.frames:
        raise _Unnumbered
    return times, keys


def _counted(file: _OpenFile, wanted: Sequence[int]) -> _Numbered:
    """Yields all frames from the first on."""
    yield from enumerate(file.frames())
