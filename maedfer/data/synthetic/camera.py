"""The way from the drawn face to the file: backdrop, light, defocus, sensor noise and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maedfer.data.synthetic.difficulty import Difficulty


@dataclass(frozen=True)
class Light:
    """Directed light that may wander.

    Attributes:
        angle: Direction it comes from, radians; 0 is the right, a quarter turn below.
        contrast: Difference between the lit and the dark side, as a fraction.
        gain: Brightness factor of each colour, `(3,)`.
        wander: Size of the slow change of brightness.
        rate: Its frequency in Hz.
        phase: Its phase in radians.
    """

    angle: float
    contrast: float
    gain: np.ndarray
    wander: float
    rate: float
    phase: float

    @property
    def side(self) -> float:
        """Side it comes from, -1 to 1, scaled by its contrast."""
        return float(np.clip(2.5 * self.contrast * np.cos(self.angle), -1, 1))


def draw_light(difficulty: Difficulty, rng: np.random.Generator) -> Light:
    """Draws the light of a clip at random."""
    amount = difficulty.lighting
    angle = rng.uniform(0, 2 * np.pi)
    contrast = amount * rng.uniform(0.0, 0.4)
    exposure = 1 + amount * rng.uniform(-0.3, 0.2)
    gain = exposure * (1 + amount * rng.uniform(-0.10, 0.10, size=3))
    wander = amount * rng.uniform(0.0, 0.14)
    return Light(angle, contrast, gain, wander, rng.uniform(0.15, 0.6), rng.uniform(0, 2 * np.pi))


def backdrop(colour: np.ndarray, difficulty: Difficulty, side: int, rng: np.random.Generator) -> np.ndarray:
    """Paints the picture behind the head: one colour, with boxes on it if the background is cluttered.

    Args:
        colour: RGB, `(3,)`.
        difficulty: `background` above 0.5 adds clutter.
        side: Pixels.
        rng: Source of the clutter.

    Returns:
        uint8 `(side, side, 3)`.
    """
    clutter = np.clip(2 * difficulty.background - 1, 0, 1)
    boxes = rng.uniform(0, 1, size=(9, 4))
    tints = rng.uniform(10, 235, size=(9, 1)) + rng.uniform(-35, 35, size=(9, 3))
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    if clutter > 0:
        for (x, y, width, height), tint in zip(boxes, tints, strict=True):
            low = (int(side * (x - width / 3)), int(side * (y - height / 3)))
            high = (int(side * (x + width / 3)), int(side * (y + height / 3)))
            shade = np.clip(np.rint(colour + clutter * (tint - colour)), 0, 255)
            cv2.rectangle(picture, low, high, shade.tolist(), cv2.FILLED)
    return picture


def record(
    frames: np.ndarray, times: np.ndarray, light: Light, difficulty: Difficulty, rng: np.random.Generator
) -> np.ndarray:
    """Applies light, defocus, noise and JPEG to painted frames, in this order.

    Args:
        frames: uint8 `(F, H, W, 3)`.
        times: Seconds, `(F,)`.
        light: The light of the scene.
        difficulty: Strength of each effect; those at 0 are skipped.
        rng: Source of the noise.

    Returns:
        uint8 `(F, H, W, 3)`.
    """
    if difficulty.lighting:
        frames = _lit(frames, times, light)
    if difficulty.blur:
        sigma = difficulty.blur * frames.shape[1]
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if difficulty.noise:
        frames = _noisy(frames, difficulty.noise, rng)
    if difficulty.jpeg:
        frames = np.stack([_jpeg(frame, difficulty.jpeg) for frame in frames])
    return frames


def _lit(frames: np.ndarray, times: np.ndarray, light: Light) -> np.ndarray:
    """Applies a light that falls off across the picture and varies over time."""
    ramp = np.linspace(-1, 1, frames.shape[1])
    across = 1 + light.contrast * (np.cos(light.angle) * ramp[None, :] + np.sin(light.angle) * ramp[:, None])
    pulse = 1 + light.wander * np.sin(2 * np.pi * light.rate * times + light.phase)
    # Whole numbers of 1/256, so that machines agree to the last bit.
    factor = np.rint(256 * pulse[:, None, None, None] * across[..., None] * light.gain).astype(np.uint32)
    return np.minimum(frames * factor >> 8, 255).astype(np.uint8)


def _noisy(frames: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian sensor noise; each frame takes another part of one strip, drawn once for speed."""
    length = frames[0].size
    strip = np.rint(sigma * rng.standard_normal(3 * length, dtype=np.float32)).astype(np.int16)
    starts = rng.integers(0, 2 * length, size=len(frames))
    noise = np.stack([strip[start : start + length].reshape(frames[0].shape) for start in starts])
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def _jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """Compresses a frame once as JPEG."""
    data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1]
