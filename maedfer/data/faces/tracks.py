"""Follows faces through a video: detections that overlap from look to look become a track.

The detector looks at one frame every `LOOK_EVERY_S`. A track ends when its face is missing for more than
`MISSES` looks, at a shot change, and at the end of the video; it is kept if its face was detected in enough
looks. Between looks its box is a smooth curve through the detections, so that crops neither jump nor tremble
(the complaint in MARLIN's thread about crops made frame by frame).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from maedfer.data.faces.detectors import Box, Detection, Detector, as_box, overlap
from maedfer.data.faces.shots import shot_changed
from maedfer.data.video.video import Frame

LOOK_EVERY_S = 0.2
"""Seconds between two looks of the detector."""

MISSES = 3
"""Looks in a row that a track may miss; its box is interpolated over them."""

MIN_SEEN = 3
"""Looks in which a face must be seen; false detections seldom come three times in one place."""

MIN_SHARE = 0.5
"""Share of the looks within a track in which its face must be seen."""

MIN_OVERLAP = 0.2
"""Intersection over union by which a detection continues a track."""

MAX_GROWTH = 1.35
"""Ratio of sizes up to which a detection continues a track: in a crowd, a face may step before another."""

LOST_S = 1.5
"""Seconds without any frame (a damaged stretch) that end every track."""

SMOOTHING_S = 0.2
"""Width (standard deviation) of the kernel that smooths boxes and angles over time."""

REACH_S = 40 * SMOOTHING_S
"""Distance beyond which the weight of the kernel is exactly 0."""

LONG_TRACK = 3000
"""Looks from which on only those within `REACH_S` are smoothed, so that memory stays bounded. Shorter tracks
use all looks, as zeros change the last digit of a sum, and packed bytes must stay what they were."""


@dataclass(frozen=True)
class FaceTrack:
    """A face and the time during which it may be cut out.

    Attributes:
        start_s: First time, in seconds.
        end_s: Last time.
        times: Looks in which the face was seen (D,).
        boxes: Its boxes in these looks (D, 4), as (x, y, w, h) in upright source pixels.
        angles: Slopes of the eye line in degrees, y down (D,), or None without landmarks.
        looks: Times of all looks from `start_s` to `end_s`.
    """

    start_s: float
    end_s: float
    times: np.ndarray
    boxes: np.ndarray
    angles: np.ndarray | None
    looks: np.ndarray

    def seen(self, start_s: float, end_s: float) -> float:
        """Returns the share of the looks in a span in which the face was seen; 1 if there is no look."""
        looks = np.count_nonzero((self.looks >= start_s) & (self.looks <= end_s))
        return np.count_nonzero((self.times >= start_s) & (self.times <= end_s)) / looks if looks else 1.0

    def areas(self, times: np.ndarray, square: bool = True) -> np.ndarray:
        """Returns smoothed areas at the given times: (n, 4) as (centre x, centre y, width, height).

        With `square`, both sides are the longer one.
        """
        sides = np.log(self.boxes[:, 2:].max(axis=1, keepdims=True) if square else self.boxes[:, 2:])
        curve = np.column_stack([self.boxes[:, :2] + self.boxes[:, 2:] / 2, sides])
        smooth = smooth_curve(self.times, curve, times)
        sides = np.exp(smooth[:, 2:])
        return np.column_stack([smooth[:, :2], sides[:, 0], sides[:, -1]])

    def rotations(self, times: np.ndarray) -> np.ndarray | None:
        """Returns smoothed eye line angles in degrees at the given times (n,), or None without landmarks."""
        if self.angles is None:
            return None
        return smooth_curve(self.times, self.angles[:, None], times)[:, 0]


def smooth_curve(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Smooths values by a running median of three and a local linear fit with a Gaussian kernel.

    The fit does not lag behind a steady movement.

    Args:
        times: Times of the values (D,), rising.
        values: (D, K).
        at: Times of the result (n,); outside of `times` the end value is held.

    Returns:
        (n, K)
    """
    padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
    values = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    at = np.clip(at, times[0], times[-1])
    if len(times) > LONG_TRACK:
        near = slice(*np.searchsorted(times, [at.min() - REACH_S, at.max() + REACH_S]))
        times, values = times[near], values[near]
    distance = times[None, :] - at[:, None]  # (n, D)
    weight = np.exp(-0.5 * (distance / SMOOTHING_S) ** 2)
    first, second = (weight * distance).sum(1), (weight * distance**2).sum(1)
    # intercept of the weighted line; the small number keeps a track seen only once at its mean
    weight = weight * (second[:, None] + 1e-9 - first[:, None] * distance)
    return weight @ values / weight.sum(1, keepdims=True)


@dataclass
class _Open:
    """A track that may still grow: the time of each detection, and the looks missed since the last."""

    found: list[tuple[float, Detection]]
    missed: int = 0


@dataclass
class FaceTracker:
    """Collects looks and shot changes in the order of time; `finish` returns the tracks.

    Attributes:
        min_face: Smallest side of a face in source pixels (median over the track).
    """

    min_face: float = 0.0
    _open: list[_Open] = field(default_factory=list)
    _looks: list[float] = field(default_factory=list)  # of the shot, since the start of the oldest open track
    _looks_of_shot: int = 0
    _done: list[FaceTrack] = field(default_factory=list)

    def look(self, time_s: float, faces: list[Detection]) -> None:
        """Adds the detections of one time, boxes in upright source pixels."""
        self._looks.append(time_s)
        self._looks_of_shot += 1
        pairs = sorted(
            (-_continues(track.found[-1][1].box, face.box), i, j)
            for i, track in enumerate(self._open)
            for j, face in enumerate(faces)
        )
        continued: dict[int, int] = {}  # the face of each track
        for negative, i, j in pairs:
            if -negative >= MIN_OVERLAP and i not in continued and j not in continued.values():
                continued[i] = j
        for i, track in enumerate(self._open):
            if i in continued:
                track.found.append((time_s, faces[continued[i]]))
            track.missed = 0 if i in continued else track.missed + 1
        self._close([track for track in self._open if track.missed > MISSES])
        new = [face for j, face in enumerate(faces) if j not in continued.values()]
        self._open += [_Open([(time_s, face)]) for face in new]
        oldest_s = min((track.found[0][0] for track in self._open), default=math.inf)
        del self._looks[: bisect_left(self._looks, oldest_s)]

    def cut(self, last_s: float) -> None:
        """Ends the shot, whose last frame is at `last_s`."""
        self._close(list(self._open), last_s)
        self._looks, self._looks_of_shot = [], 0

    def finish(self, last_s: float) -> list[FaceTrack]:
        """Ends the video and returns its tracks in order of their start, then from left to right."""
        self.cut(last_s)
        return sorted(self._done, key=lambda track: (track.start_s, *track.boxes[0]))

    def _close(self, ended: list[_Open], last_s: float | None = None) -> None:
        for track in ended:
            self._open.remove(track)
            if self._accepted(track):
                self._done.append(self._track(track, last_s))

    def _accepted(self, track: _Open) -> bool:
        looks = len(self._between(track.found[0][0], track.found[-1][0]))
        size = float(np.median([min(face.box[2:]) for _, face in track.found]))
        enough = len(track.found) >= min(MIN_SEEN, self._looks_of_shot)
        return enough and len(track.found) >= MIN_SHARE * looks and size >= self.min_face

    def _track(self, track: _Open, last_s: float | None) -> FaceTrack:
        times = np.array([time for time, _ in track.found])
        faces = [face for _, face in track.found]
        # a face that was seen in the last look of a shot is assumed to stay until its end
        end_s = times[-1] if last_s is None or track.missed else last_s
        eyes = [face.eyes for face in faces if face.eyes is not None]
        return FaceTrack(
            start_s=times[0],
            end_s=end_s,
            times=times,
            boxes=np.array([face.box for face in faces]),
            angles=_eye_angles(np.stack(eyes)) if len(eyes) == len(faces) else None,
            looks=np.array(self._between(times[0], end_s)),
        )

    def _between(self, start_s: float, end_s: float) -> list[float]:
        return self._looks[bisect_left(self._looks, start_s) : bisect_right(self._looks, end_s)]


def _continues(before: Box, now: Box) -> float:
    """Returns the overlap of two boxes, or 0 when one is much larger than the other."""
    growth = math.sqrt(now[2] * now[3] / (before[2] * before[3]))
    return overlap(before, now) if 1 / MAX_GROWTH <= growth <= MAX_GROWTH else 0.0


def _eye_angles(eyes: np.ndarray) -> np.ndarray:
    """Returns slopes in degrees of (D, 2, 2) eye pairs, without jumps at half turns."""
    line = eyes[:, 1] - eyes[:, 0]
    return np.rad2deg(np.unwrap(np.arctan2(line[:, 1], line[:, 0])))


def follow_faces(
    frames: Iterable[Frame], detector: Detector, min_face: float = 0.0
) -> tuple[list[FaceTrack], np.ndarray]:
    """Follows the faces of a video in one pass, on reduced frames.

    Args:
        frames: The frames in order of time.
        detector: Finds the faces of a frame.
        min_face: Smallest side of a face, in source pixels.

    Returns:
        The tracks, and the times of all frames (F,).
    """
    tracker, times, next_look = FaceTracker(min_face), array("d"), -math.inf
    before: np.ndarray | None = None
    for frame in frames:
        if detector.finds_faces:
            now = frame.thumbnail()
            if before is not None and shot_changed(before, now):
                tracker.cut(times[-1])
                next_look = frame.time_s
            before = now
        if times and frame.time_s - times[-1] > LOST_S:
            tracker.cut(times[-1])
        times.append(frame.time_s)
        if frame.time_s >= next_look - 1e-6:
            tracker.look(frame.time_s, _detect(frame, detector))
            next_look = frame.time_s + LOOK_EVERY_S
    return (tracker.finish(times[-1]) if times else []), np.array(times)


def largest_at_a_time(tracks: list[FaceTrack]) -> list[FaceTrack]:
    """Returns the tracks that no larger track (median side) overlaps in time, in their order."""
    kept: list[FaceTrack] = []
    for track in sorted(tracks, key=lambda each: -float(np.median(each.boxes[:, 2:].max(axis=1)))):
        if all(track.end_s < other.start_s or track.start_s > other.end_s for other in kept):
            kept.append(track)
    return [track for track in tracks if any(track is each for each in kept)]


def _detect(frame: Frame, detector: Detector) -> list[Detection]:
    """Detects faces on the reduced frame; boxes and eyes in source pixels."""
    if detector.finds_faces:
        picture = frame.picture(detector.max_side)
    else:  # only the size matters
        picture = np.broadcast_to(np.uint8(0), (frame.height, frame.width, 3))
    scale = np.array([frame.width / picture.shape[1], frame.height / picture.shape[0]])
    return [
        Detection(
            as_box(np.array(face.box) * np.tile(scale, 2)),
            None if face.eyes is None else face.eyes * scale,
            face.score,
        )
        for face in detector.detect(picture)
    ]
