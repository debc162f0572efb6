"""Encodes the frames of a track for a shard, and decodes them again.

`jpeg` (default) is one member, the concatenated JPEG files of the frames (a raw MJPEG stream); the record's
`frame_bytes` says where each one starts, so any frame costs one small decode. `h264` is an mp4 that decodes
fast: a key frame every 16, no B-frames, no loop filter or CABAC. It takes a sixth to a quarter of the
bytes and two to three times the decoding work.

Readers trust the frame count of the record, never the container's, which may promise more frames than it
holds. An mp4 has its index at the end, so a file cut short fails at once.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg

from maedfer.constants import STORED_FPS
from maedfer.data.shards.records import BrokenSample, EncodedTrack, TrackRecord
from maedfer.errors import UserError

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


def encode_track(
    frames: np.ndarray, encoding: Encoding, fps: float, quality: int | None = None
) -> EncodedTrack:
    """Encodes the frames of a track; equal frames give equal bytes.

    Args:
        frames: uint8 RGB (F, H, W, 3), at least one.
        encoding: Name of the encoding.
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
    """Returns the quality to use: the given one, or the default of the encoding for None.

    Raises:
        UserError: an unknown encoding or a quality out of its range.
    """
    if encoding not in EXTENSIONS:
        raise UserError("encoding", f"{encoding} is unknown: take one of {', '.join(EXTENSIONS)}")
    low, high = _QUALITY_RANGE[encoding]
    value = DEFAULT_QUALITY[encoding] if quality is None else quality
    if not low <= value <= high:
        raise UserError("quality", f"{value} is not between {low} and {high}, the range of {encoding}")
    return value


def describe_encoding(
    encoding: Encoding, quality: int | None = None, fps: float = STORED_FPS
) -> dict[str, Any]:
    """Returns the `encoding` of an index: name, member extension, quality, stored frames per second."""
    quality = check_quality(encoding, quality)
    return {"name": encoding, "extension": EXTENSIONS[encoding], "quality": quality, "fps": fps}


def decode_frames(data: bytes, record: TrackRecord, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Decodes frames of a stored track.

    Args:
        data: The member `<key>.mjpg` or `<key>.mp4`.
        record: The record `<key>.json`.
        indices: Frame numbers in any order, repeats allowed; those outside the record are clamped into it.

    Returns:
        uint8 RGB (n, H, W, 3), one frame per index.

    Raises:
        BrokenSample: the bytes are damaged or do not agree with the record.
    """
    name, shape = f"sample {record.key}", (record.height, record.width, 3)
    wanted, places = np.unique(np.clip(indices, 0, record.frames - 1), return_inverse=True)
    try:
        decode = {"jpeg": _decode_jpeg, "h264": _decode_h264}[record.encoding]
        frames = decode(data, record, wanted.tolist())
    except Exception as error:  # simplejpeg and PyAV each raise their own kinds
        first_line = str(error).partition("\n")[0][:200]
        kind = "" if isinstance(error, _WrongFrames) else f"{type(error).__name__}: "
        raise BrokenSample(None, f"{name}: {kind}{first_line}") from error
    if frames.shape[1:] != shape:
        raise BrokenSample(None, f"{name}: frames are {frames.shape[1:]}, the record says {shape}")
    return frames if np.array_equal(places, np.arange(len(wanted))) else frames[places]


class _WrongFrames(ValueError):
    """Reports stored frames that do not agree with the record, in words that need no prefix."""


def _encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"OpenCV could not encode a frame of shape {frame.shape} as JPEG")
    return data.tobytes()


def _decode_jpeg(data: bytes, record: TrackRecord, wanted: Sequence[int]) -> np.ndarray:
    """Decodes single JPEGs out of the stream."""
    sizes = record.frame_bytes or []
    if len(sizes) != record.frames or sum(sizes) != len(data):
        raise _WrongFrames(
            f"{len(data)} bytes, the record says {len(sizes)} sizes, {sum(sizes)} bytes, "
            f"{record.frames} frames"
        )
    ends, stored = list(accumulate(sizes)), memoryview(data)
    frames = np.empty((len(wanted), record.height, record.width, 3), np.uint8)
    for frame, index in zip(frames, wanted, strict=True):
        image = stored[ends[index] - sizes[index] : ends[index]]
        try:
            # libjpeg fills a truncated picture with grey: check its first and last marker too
            if bytes(image[:2]) != b"\xff\xd8" or bytes(image[-2:]) != b"\xff\xd9":
                raise ValueError("its first or its last marker is missing")
            height, width, _ = simplejpeg.decode_jpeg(image, buffer=frame).shape
            if (height, width) != frame.shape[:2]:
                raise ValueError(f"it is of {width}x{height}")
        except ValueError as error:
            size = f"{record.width}x{record.height}"
            raise _WrongFrames(f"frame {index} is not a JPEG of {size}: {error}") from error
    return frames


def _encode_h264(frames: np.ndarray, fps: float, quality: int) -> bytes:
    """Encodes an mp4 in memory, on one thread so that the bytes do not depend on the machine's cores."""
    import av

    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise UserError("size", f"h264 needs an even size, not {width}x{height}: change it, or `encoding`")
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


def _decode_h264(data: bytes, record: TrackRecord, wanted: Sequence[int]) -> np.ndarray:
    from maedfer.data.shards.mp4 import mp4_frames  # it imports PyAV, which JPEG shards do not need

    return mp4_frames(data, record.frames, (record.height, record.width), wanted)
