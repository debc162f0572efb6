"""Reads the faces of a video as crops: finds them, follows them, and cuts them out, one track at a time.

A video is read twice, first on reduced frames to find and follow faces, then to cut them out. Tracks are
numbered in order of their start, which is known only after the first pass.

Memory does not grow with the length of the video, but for two small things: 8 bytes for the time of each
frame, and for each face 50 bytes per stored frame and, until its track ends, 350 bytes per look (five a
second): 10 MB for one face that is seen for an hour without a break. Pixels are held only of the pieces that
are being cut, each at most `max_seconds` long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.crops import CropPlan, cut_crops, plan_crops
from maedfer.data.faces.detectors import make_detector
from maedfer.data.faces.tracks import follow_faces, largest_at_a_time
from maedfer.data.video.video import WHOLE, Span, UnreadableVideo, Video

FailureStatus = Literal["no_face", "unreadable", "too_short"]


class NoFaceClip(Exception):
    """Reports a video that gives no face clip, or not all of them, with `status` and `reason`."""

    def __init__(self, status: FailureStatus, reason: str) -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class FaceClip:
    """The crops of one face track, or of a piece of a long one.

    Attributes:
        frames: uint8 RGB (F, size, size, 3).
        plan: Times, rate, areas and angles of the frames.
        number: Position of the clip among those of its video, in order of their start.
        remark: What was wrong with the video, such as damaged packets; empty if nothing was.
    """

    frames: np.ndarray
    plan: CropPlan
    number: int
    remark: str


def read_face_tracks(
    video: Video,
    crop: CropSettings,
    span: Span = WHOLE,
    on_frame: Callable[[], object] = lambda: None,
) -> Iterator[FaceClip]:
    """Yields the faces of a video, each as soon as its last frame was read in the second pass.

    Args:
        video: The source.
        crop: Which faces are cut out, and how.
        span: Start and end of the part to read, in seconds.
        on_frame: Called for every decoded frame, as a sign of life.

    Raises:
        NoFaceClip: at the first step, if the video cannot be decoded or holds no face that is long enough;
            after the last clip, if some could not be read a second time.
    """
    try:
        plans, remark = _plan_clips(video, crop, span, on_frame)
        first_s = max(span[0], min(float(plan.times[0]) for plan in plans))
        done = 0
        for number, frames in cut_crops(video.frames((first_s, span[1]), on_frame), plans, crop.size):
            yield FaceClip(frames, plans[number], number, remark)
            done += 1
    except UnreadableVideo as error:
        raise NoFaceClip("unreadable", error.message) from error
    if done < len(plans):
        raise NoFaceClip("unreadable", f"{len(plans) - done} tracks could not be read a second time")


def _plan_clips(
    video: Video, crop: CropSettings, span: Span, on_frame: Callable[[], object]
) -> tuple[list[CropPlan], str]:
    """Finds and follows the faces of a video: the first pass of `read_face_tracks`.

    Returns:
        Plans of the clips, at least one, and the remark on the video.

    Raises:
        NoFaceClip: no frame, no face, or none that is long enough.
        UnreadableVideo: the video cannot be opened.
    """
    detector, min_face = make_detector(crop), crop.min_face if crop.finds_faces else 0
    tracks, times = follow_faces(video.frames(span, on_frame), detector, min_face)
    tracks = largest_at_a_time(tracks) if crop.largest_face else tracks
    remark = _remark(video, len(times), span)

    def failure(status: FailureStatus, reason: str) -> NoFaceClip:
        return NoFaceClip(status, f"{reason}; {remark}" if remark else reason)

    if not len(times):
        raise failure("unreadable", _no_frame(span))
    if len(times) < crop.min_frames:
        raise failure("too_short", f"{len(times)} frames, a clip needs {crop.min_frames}")
    if not tracks:
        raise failure("no_face", f"no face in {times[-1] - times[0]:.1f} s")
    plans = [plan for track in tracks for plan in plan_crops(track, times, crop)]
    if not plans:
        longest = max(np.count_nonzero((times >= each.start_s) & (times <= each.end_s)) for each in tracks)
        text = f"the longest face track has {longest} frames, a clip needs {crop.min_frames}"
        raise failure("too_short", text)
    if crop.one_track:
        plans = [max(plans, key=lambda plan: float(plan.times[-1] - plan.times[0]))]
    return plans, remark


def _remark(video: Video, frames: int, span: Span) -> str:
    """Describes damage: packets that were left out, frames that the container promises and does not have."""
    remarks = [f"{video.damaged} damaged {video.pieces} left out"] if video.damaged else []
    if span == WHOLE and frames < 0.9 * video.promised:
        remarks.append(f"{frames} frames where the container promises {video.promised}")
    return "; ".join(remarks)


def _no_frame(span: Span) -> str:
    """Names the reason why there is no frame: the span may lie beyond the end of the video."""
    start_s, end_s = span
    if span == WHOLE:
        return "no frame can be decoded"
    where = f"after {start_s:g} s" if end_s == math.inf else f"between {start_s:g} and {end_s:g} s"
    return f"no frame {where}"
