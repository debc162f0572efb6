"""How the frames of a track are stored in a shard, and read back: the two functions every reader needs.

`jpeg` (default) is one member, the concatenated JPEG files of the frames (a raw MJPEG stream); the record's
`frame_bytes` says where each one starts, so any frame costs one small decode. `h264` is an mp4 that decodes
fast: a key frame every 16, no B-frames, no loop filter or CABAC. It takes about a quarter of the bytes and
three times the decoding work.

Readers trust the frame count of the record, never the container's: a container that promises more frames than
it holds makes decord wait for ever. An mp4 has its index at the end, so a file cut short fails at once.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import accumulate
from types import ModuleType
from typing import Any, Literal

import cv2
import numpy as np

Encoding = Literal["jpeg", "h264"]

EXTENSIONS: Mapping[str, str] = {"jpeg": "mjpg", "h264": "mp4"}
"""Member name extension of each encoding."""

DEFAULT_QUALITY: Mapping[str, int] = {"jpeg": 85, "h264": 23}
"""JPEG quality (1 to 100, more is better); H.264 constant rate factor (0 to 51, less is better)."""

GOP = 16
"""Frames between key frames of an mp4: a random clip starts at most 15 frames after one."""

_QUALITY_RANGE = {"jpeg": (1, 100), "h264": (0, 51)}
_H264_OPTIONS = {
    "preset": "medium",
    "tune": "fastdecode",
    "sc_threshold": "0",
    "bf": "0",
    # x264's macroblock tree reads memory it has not set: with it, equal frames gave different bytes
    "x264-params": "mbtree=0:cpu-independent=1",
}


class BrokenSample(ValueError):
    """A sample whose frames cannot be decoded as its record says."""


@dataclass(frozen=True)
class EncodedTrack:
    """The stored frames of a track: member extension, bytes, and the size of each JPEG (None for mp4)."""

    extension: str
    data: bytes
    frame_bytes: list[int] | None


def encode_track(
    frames: np.ndarray, encoding: Encoding, fps: float, quality: int | None = None
) -> EncodedTrack:
    """Encode the frames of a track; equal frames give equal bytes.

    Args:
        frames: uint8 RGB (F, H, W, 3), at least one.
        encoding: How to store them.
        fps: Frames per second written to an mp4.
        quality: JPEG quality or H.264 rate factor; None takes the encoding's default.

    Raises:
        ValueError: the array, the encoding or the quality is not one this function can store.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(f"frames must be uint8 (F, H, W, 3) and not empty: {frames.dtype} {frames.shape}")
    quality = check_quality(encoding, quality)
    if encoding == "jpeg":
        images = [_encode_jpeg(frame, quality) for frame in frames]
        return EncodedTrack(EXTENSIONS["jpeg"], b"".join(images), [len(image) for image in images])
    return EncodedTrack(EXTENSIONS["h264"], _encode_h264(frames, fps, quality), None)


def check_quality(encoding: Encoding, quality: int | None) -> int:
    """The quality to use: the given one when the encoding allows it, its default for None.

    Raises:
        ValueError: an unknown encoding or a quality out of its range.
    """
    if encoding not in EXTENSIONS:
        raise ValueError(f"--encoding {encoding} is unknown: take one of {', '.join(EXTENSIONS)}")
    low, high = _QUALITY_RANGE[encoding]
    value = DEFAULT_QUALITY[encoding] if quality is None else quality
    if not low <= value <= high:
        raise ValueError(f"--quality {value} is not between {low} and {high}, the range of {encoding}")
    return value


def decode_frames(data: bytes, meta: Mapping[str, Any], indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Decode frames of a stored track.

    Args:
        data: The member `<key>.mjpg` or `<key>.mp4`.
        meta: The record `<key>.json`.
        indices: Frame numbers in any order, repeats allowed; those outside the record are clamped into it.

    Returns:
        uint8 RGB (n, H, W, 3), one frame per index.

    Raises:
        BrokenSample: the bytes are damaged or do not agree with the record.
    """
    try:
        count, shape = int(meta["frames"]), (int(meta["height"]), int(meta["width"]), 3)
        wanted = np.clip(np.asarray(indices, dtype=np.int64), 0, count - 1)
        decode = {"jpeg": _decode_jpeg, "h264": _decode_h264}[meta["encoding"]]
        frames = decode(data, meta, wanted)
    except BrokenSample:
        raise
    except Exception as error:  # decord, OpenCV and PyAV each raise their own kinds
        raise BrokenSample(
            f"{_name(meta)}: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
        ) from error
    if frames.shape[1:] != shape:
        raise BrokenSample(f"{_name(meta)}: frames are {frames.shape[1:]}, the record says {shape}")
    return frames


def _name(meta: Mapping[str, Any]) -> str:
    return f"sample {meta.get('key', '(without key)')}"


def _encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"OpenCV could not encode a frame of shape {frame.shape} as JPEG")
    return data.tobytes()


def _decode_jpeg(data: bytes, meta: Mapping[str, Any], indices: np.ndarray) -> np.ndarray:
    """Decode single JPEGs out of the stream; a frame asked for twice is decoded once."""
    sizes = meta["frame_bytes"]
    if len(sizes) != meta["frames"] or sum(sizes) != len(data):
        raise BrokenSample(
            f"{_name(meta)}: {len(data)} bytes, the record says {len(sizes)} sizes, {sum(sizes)} bytes, "
            f"{meta['frames']} frames"
        )
    starts = [0, *accumulate(sizes)]
    unique, inverse = np.unique(indices, return_inverse=True)
    frames = np.empty((len(unique), int(meta["height"]), int(meta["width"]), 3), np.uint8)
    for slot, index in enumerate(unique):
        image = data[starts[index] : starts[index + 1]]
        # libjpeg fills a picture cut short with grey and only warns: look at its first and last marker
        whole = image[:2] == b"\xff\xd8" and image[-2:] == b"\xff\xd9"
        frame = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) if whole else None
        if frame is None or frame.shape != frames.shape[1:]:
            raise BrokenSample(
                f"{_name(meta)}: frame {index} is not a JPEG of {frames.shape[2]}x{frames.shape[1]}"
            )
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frames[slot])
    return frames if len(unique) == len(indices) and (unique == indices).all() else frames[inverse]


def _encode_h264(frames: np.ndarray, fps: float, quality: int) -> bytes:
    """Encode an mp4 in memory, on one thread so that the bytes do not depend on the machine's cores."""
    import av

    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(
            f"h264 needs an even --size, not {width}x{height}: change it, or take --encoding jpeg"
        )
    rate = Fraction(fps).limit_denominator(1001)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=_H264_OPTIONS | {"crf": str(quality)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = GOP, 1
        stream.codec_context.options = stream.codec_context.options | {"keyint_min": str(GOP)}
        stream.time_base = stream.codec_context.time_base = 1 / rate
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@cache
def _decord() -> ModuleType | None:
    """The decord module, or None where it has no wheel (it seeks 3 to 4 times faster than PyAV)."""
    try:
        import decord
    except ImportError:
        return None
    return decord


def _decode_h264(data: bytes, meta: Mapping[str, Any], indices: np.ndarray) -> np.ndarray:
    decord = _decord()
    if decord is None:
        return _decode_with_av(data, meta, indices)
    reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
    if len(reader) < meta["frames"]:
        raise BrokenSample(f"{_name(meta)}: {len(reader)} frames, the record says {meta['frames']}")
    return reader.get_batch(indices.tolist()).asnumpy()


def _decode_with_av(data: bytes, meta: Mapping[str, Any], indices: np.ndarray) -> np.ndarray:
    """Decode from the start up to the last wanted frame: tracks are short, and this needs no seek table."""
    import av

    wanted, found = set(indices.tolist()), {}
    with av.open(io.BytesIO(data)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                found[number] = frame.to_ndarray(format="rgb24")
            if len(found) == len(wanted):
                break
    if len(found) < len(wanted):
        raise BrokenSample(
            f"{_name(meta)}: frame {min(wanted - found.keys())} of {meta['frames']} is missing"
        )
    return np.stack([found[index] for index in indices.tolist()])
