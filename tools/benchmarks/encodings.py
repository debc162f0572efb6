"""The table that the default encoding is chosen from: bytes, decoding speed and loss of each way to store.

Everything goes through the functions of `maedfer pack` and of its readers; the last row is the source itself
through decord. Rates are those of decoding alone, of 16 frames 0.16 s apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.clip_difference import psnr
from benchmarks.clip_rate import call_rate, middle, rates_in_turn
from benchmarks.face_videos import RATE, SIDE, kib_per_second, square_frames
from benchmarks.plain_loader import open_video
from benchmarks.result import Row
from maedfer.data.loading.clip_times import ClipSampler
from maedfer.data.shards.encoding import Encoding, decode_frames, encode_track
from maedfer.data.shards.records import TrackRecord

VIEWS = (1, 4)
"""Clips drawn from one decoding."""


@dataclass(frozen=True)
class Storage:
    """A way to store a track: how, how well, side in pixels, frames per second (a whole share of 25)."""

    encoding: Encoding
    quality: int
    size: int = 160
    fps: float = 12.5

    @property
    def title(self) -> str:
        """Its name in the table."""
        measure = "quality" if self.encoding == "jpeg" else "rate factor"
        return f"{self.encoding}, {measure} {self.quality}, {self.size} px, {self.fps:g} fps"


STORAGES = (
    *(Storage("jpeg", quality) for quality in (75, 85, 90, 95)),
    Storage("jpeg", 85, size=192),
    Storage("jpeg", 85, fps=6.25),
    Storage("jpeg", 85, fps=25),
    *(Storage("h264", factor) for factor in (18, 23, 28)),
    Storage("h264", 23, fps=6.25),
)


SIZES = sorted({way.size for way in STORAGES})

SOURCE = f"the source: h264, {SIDE} px, {RATE} fps, GOP 250, through decord"


@dataclass(frozen=True)
class Track:
    """A stored track: its bytes, the record that a reader needs, and the mean square of what was lost."""

    data: bytes
    record: TrackRecord
    lost: float


def encoding_rows(videos: Sequence[Path], seconds: float, rounds: int) -> list[Row]:
    """One row per way to store: `stored_as`, `kib_per_s`, `clips_per_s_1`, `clips_per_s_4`, `psnr_db`.

    Args:
        videos: the source, at 224 px and 25 frames per second.
        seconds: to measure each in a round.
        rounds: of which the median counts.
    """
    sources = {size: [square_frames(path, side=size) for path in videos] for size in SIZES}
    stored = {
        way: [stored_track(frames, way) for frames in sources[way.size]]
        for way in tqdm(STORAGES, desc="encodings", unit="way")
    }
    rates = _decoding_rates(stored, videos, seconds, rounds)
    rows = [
        {"stored_as": way.title, **_size_and_loss(tracks), **rates[way.title]}
        for way, tracks in stored.items()
    ]
    kib = kib_per_second(videos, len(sources[SIZES[0]][0]) / RATE)
    return [*rows, {"stored_as": SOURCE, "kib_per_s": kib, "psnr_db": None, **rates[SOURCE]}]


def stored_track(frames: np.ndarray, way: Storage) -> Track:
    """Store source frames uint8 (F, H, W, 3), reduced already, and look at what comes back."""
    kept = frames[:: round(RATE / way.fps)]
    encoded = encode_track(kept, way.encoding, way.fps, way.quality)
    record = TrackRecord(
        key="track",
        frames=len(kept),
        fps=way.fps,
        width=way.size,
        height=way.size,
        encoding=way.encoding,
        frame_bytes=encoded.frame_bytes,
    )
    back = decode_frames(encoded.data, record, range(len(kept)))
    return Track(encoded.data, record, float(np.square(back.astype(np.float32) - kept).mean()))


def _size_and_loss(tracks: Sequence[Track]) -> Row:
    """KiB of a second of video, and PSNR."""
    seconds = sum(track.record.frames / track.record.fps for track in tracks)
    kib = sum(len(track.data) for track in tracks) / 1024 / seconds
    return {"kib_per_s": kib, "psnr_db": psnr(float(np.mean([track.lost for track in tracks])))}


def _decoding_rates(
    stored: Mapping[Storage, Sequence[Track]], videos: Sequence[Path], seconds: float, rounds: int
) -> dict[str, Row]:
    """Clips per second and core of every way to store and of the source, in turn."""
    calls = {
        (way.title, views): _calls([partial(_decode, track) for track in tracks], views)
        for way, tracks in stored.items()
        for views in VIEWS
    }
    calls |= {
        (SOURCE, views): _calls([partial(_decode_source, path) for path in videos], views) for views in VIEWS
    }
    ways = {name: partial(call_rate, call, seconds) for name, call in calls.items()}
    rates: dict[str, Row] = {}
    for (title, views), found in rates_in_turn(ways, rounds).items():
        rates.setdefault(title, {})[f"clips_per_s_{views}"] = middle([rate.core for rate in found])
    return rates


def _calls(decoders: Sequence[Callable[[np.random.Generator, int], object]], views: int) -> Callable[[], int]:
    """A call that decodes the next track, once for so many clips, and returns how many."""
    rng, turn = np.random.default_rng(0), cycle(decoders)

    def call() -> int:
        next(turn)(rng, views)
        return views

    return call


def _decode(track: Track, rng: np.random.Generator, views: int) -> None:
    time = ClipSampler(track.record.frames, track.record.fps)
    decode_frames(track.data, track.record, _frames_of_clips(time, rng, views))


def _decode_source(path: Path, rng: np.random.Generator, views: int) -> None:
    reader = open_video(str(path))
    reader.get_batch(_frames_of_clips(ClipSampler(len(reader), RATE), rng, views).tolist()).asnumpy()


def _frames_of_clips(time: ClipSampler, rng: np.random.Generator, views: int) -> np.ndarray:
    """The frames of so many clips at random times, each once, as our reader asks for them."""
    return np.unique(np.concatenate([time.random_clip(rng).indices for _ in range(views)]))
