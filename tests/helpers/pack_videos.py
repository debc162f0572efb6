"""Tiny videos with drawn content, for the tests of packing."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from maedfer.data.faces.detectors import Detection

FACE = np.array([250, 60, 60], np.uint8)


def scene(
    at: Callable[[float], tuple[float, float] | None], size: tuple[int, int] = (96, 64), face: int = 24
) -> Callable[[float], np.ndarray]:
    """A picture as a function of time: a red square (the "face") centred `at(t)`, or none, on shades."""
    width, height = size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    ground = np.stack([columns * 0.4 + 20, rows * 0.8 + 40, columns * 0.5 + 60], -1).astype(np.uint8)

    def draw(time_s: float) -> np.ndarray:
        picture, place = ground.copy(), at(time_s)
        if place is not None:
            x, y = (round(value) for value in place)
            half = face // 2
            picture[max(0, y - half) : y + half, max(0, x - half) : x + half] = FACE
            picture[max(0, y - half) : y - half + 4, max(0, x - half) : x - half + 4] = (
                255  # upper left corner
            )
        return picture

    return draw


def still(place: tuple[float, float] = (48, 32), **options) -> Callable[[float], np.ndarray]:
    return scene(lambda _: place, **options)


def write_video(
    path: Path,
    draw: Callable[[float], np.ndarray],
    times: Sequence[float] | int = 50,
    fps: float = 25,
    codec: str = "libx264",
    audio_first: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write `draw` at the given times (or that many frames at `fps`); optionally with sound as stream 0."""
    moments = [i / fps for i in range(times)] if isinstance(times, int) else times
    first = draw(moments[0])
    with av.open(str(path), "w", options=options or {}) as container:
        sound = container.add_stream("aac", rate=16000) if audio_first else None
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 12800)
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 16000, 0
            container.mux(sound.encode(silence))
        for time_s in moments:
            frame = av.VideoFrame.from_ndarray(draw(time_s), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 12800), Fraction(1, 12800)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn_display(path: Path) -> Path:
    """Set the display matrix of an mp4 to a quarter turn clockwise, as phones do for portrait video."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 2 * 4 + 4 * 2  # version 0 of the box
    numbers = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(data)
    return path


def promise_frames(path: Path, count: int) -> Path:
    """Make the sample table of an mp4 promise more frames of the last length than it holds (a lying stts)."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"stts") + 4 + 4 + 4
    data[entry : entry + 4] = count.to_bytes(4, "big")
    path.write_bytes(data)
    return path


class RedSquares:
    """A detector of red squares, with eyes at their upper corners when asked; `blind` are looks it misses."""

    finds_faces, max_side = True, 96

    def __init__(self, eyes=False, blind=()):
        self.eyes, self.blind, self.looks = eyes, set(blind), 0

    def detect(self, picture):
        self.looks += 1
        if self.looks - 1 in self.blind:
            return []
        red = ((picture[..., 0] > 180) & (picture[..., 1] < 120)).astype(np.uint8)
        found = cv2.connectedComponentsWithStats(red)[2][1:]
        return [self._detection(row[:4].astype(float)) for row in found if row[4] > 40]

    def _detection(self, box):
        eyes = np.array([[box[0], box[1]], [box[0] + box[2], box[1]]]) if self.eyes else None
        return Detection(tuple(box), eyes, 1.0)


class Drawn:
    """A video that is drawn frame by frame, so that nothing but the reader's own memory is measured."""

    promised = damaged = 0
    pieces = "frames"

    def __init__(self, draw, seconds, fps=25):
        self.draw, self.count, self.fps = draw, round(seconds * fps), fps

    def frames(self, span=(0.0, math.inf), on_frame=lambda: None):
        for number in range(self.count):
            on_frame()
            if span[0] - 1e-6 <= number / self.fps <= span[1]:
                yield DrawnFrame(number / self.fps, self.draw(number / self.fps))


class DrawnFrame:
    def __init__(self, time_s, pixels):
        self.time_s, self.pixels = time_s, pixels
        self.height, self.width = pixels.shape[:2]

    def picture(self, max_side=None):
        return self.pixels

    def thumbnail(self):
        return self.pixels[::2, ::2]
