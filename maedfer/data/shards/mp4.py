"""Frames of a short mp4 that lies in memory, by their numbers; only what they need is decoded.

The index of the file says where key frames are, so decoding starts at the one before a wanted frame, and a
gap with a key frame in it is jumped over. That holds only while every decoded frame has the timestamp that
the index gives for its number. Where one has not, or does not decode (B-frames, edit lists, fragments),
frames are counted from the start instead.

One thread decodes and converts, as there is a worker on every core: swscale's own choice, several threads
for each small frame, makes a conversion six times as slow. A decoder is kept for the next file of its kind:
with one for each file, a worker grows by about 1.5 MB every thousand clips (PyAV 18), for good.
"""

import io
import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

_KEY, _DISCARDED = 1, 2
"""Flags that FFmpeg gives an index entry: a key frame, and a frame that an edit list leaves out."""

_Numbered = Generator[tuple[int, av.VideoFrame], None, None]


class _Decoders(threading.local):
    """The decoders of a thread, by codec and by what a file says of its stream as a whole."""

    most = 8

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bytes | None], av.VideoCodecContext] = {}

    def take(self, stream: av.VideoStream) -> av.VideoCodecContext:
        """A decoder for this stream that remembers nothing; hand it back with `keep` unless it failed."""
        described = stream.codec_context
        decoder = self._kept.pop((described.name, described.extradata), None)
        if decoder is not None:
            decoder.flush_buffers()
            return decoder
        decoder = av.CodecContext.create(described.name, "r")
        decoder.extradata = described.extradata
        decoder.thread_type, decoder.thread_count = "NONE", 1
        decoder.options = {"err_detect": "explode"}  # a damaged frame is not to be guessed
        return decoder

    def keep(self, decoder: av.VideoCodecContext) -> None:
        """Keep a decoder for the next file of its kind, and no more than a few."""
        self._kept[decoder.name, decoder.extradata] = decoder
        while len(self._kept) > self.most:
            del self._kept[next(iter(self._kept))]


_decoders = _Decoders()


@dataclass(frozen=True)
class _Reading:
    """An open file, its first video stream, and a decoder for that."""

    container: av.container.InputContainer
    stream: av.VideoStream
    decoder: av.VideoCodecContext

    def seek(self, time: int) -> None:
        """Go to the key frame at a timestamp of the stream."""
        self.container.seek(time, stream=self.stream)
        self.decoder.flush_buffers()

    def frames(self) -> Generator[av.VideoFrame, None, None]:
        """Frames from here on, in the order they are shown."""
        # Closed by hand: a packet that is left when the file closes is never freed.
        with closing(self.container.demux(self.stream)) as packets:
            for packet in packets:
                yield from self.decoder.decode(packet)  # the last packet is empty and brings what is left
                del packet


_Way = Callable[[_Reading, Sequence[int]], _Numbered]


class _Unnumbered(Exception):
    """The index does not say which frame is which."""


def mp4_frames(data: bytes, count: int, size: tuple[int, int], wanted: Sequence[int]) -> np.ndarray:
    """Decode frames of the first video stream, of any pixel format and colour range.

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


def _read(data: bytes, count: int, size: tuple[int, int], wanted: Sequence[int], way: _Way) -> np.ndarray:
    with av.open(io.BytesIO(data), format="mp4") as container:
        stream = container.streams.video[0]
        if 0 < stream.frames < count:
            raise ValueError(f"{stream.frames} frames, the record says {count}")
        decoder = _decoders.take(stream)
        try:
            with closing(way(_Reading(container, stream, decoder), wanted)) as decoded:
                pictures = _pictures(decoded, size, wanted)
        except _Unnumbered:  # no fault of the decoder
            _decoders.keep(decoder)
            raise
        _decoders.keep(decoder)
        return pictures


def _pictures(decoded: _Numbered, size: tuple[int, int], wanted: Sequence[int]) -> np.ndarray:
    """Convert the wanted frames among the decoded ones to uint8 RGB (n, H, W, 3).

    Raises:
        ValueError: one is missing, damaged or of another size.
    """
    pictures = np.empty((len(wanted), *size, 3), np.uint8)
    places = {number: place for place, number in enumerate(wanted)}
    reformatter = VideoReformatter()  # one for all: `frame.reformat` makes one for each frame
    for number, frame in decoded:
        if frame.is_corrupt or (frame.height, frame.width) != size:
            told = "damaged" if frame.is_corrupt else f"of {frame.width}x{frame.height}"
            raise ValueError(f"frame {number} is {told}, the record says {size[1]}x{size[0]}")
        if number in places:
            picture = reformatter.reformat(frame, format="rgb24", threads=1)
            pictures[places.pop(number)] = picture.to_ndarray()
        if not places:
            return pictures
    raise ValueError(f"frame {min(places)} is missing")


def _sought(reading: _Reading, wanted: Sequence[int]) -> _Numbered:
    """The frames from the key frame before each wanted one, or on from the last, whichever is nearer.

    Raises:
        _Unnumbered: there is no whole index, or a frame has not the timestamp of its number.
    """
    times, keys = _index(reading.stream)
    at, frames = -1, reading.frames()
    for number in wanted:
        key = keys[bisect_right(keys, number) - 1]
        if key > at:
            frames.close()
            reading.seek(times[key])
            at, frames = key - 1, reading.frames()
        while at < number:
            at, frame = at + 1, next(frames, None)
            if frame is None or frame.pts != times[at]:
                raise _Unnumbered
            yield at, frame


def _index(stream: av.VideoStream) -> tuple[list[int], list[int]]:
    """Timestamps of all frames, as they are decoded, and the numbers of key frames.

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


def _counted(reading: _Reading, wanted: Sequence[int]) -> _Numbered:
    """All frames from the first on."""
    yield from enumerate(reading.frames())
