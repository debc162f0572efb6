"""How far a clip from our shards is from the plain way's, at the same times, no view drawn.

Both are the same 160 pixels of the source, so they differ by what was stored: a JPEG, or another H.264 stage.
The times come from different places: those of ours from the record of the shard, the plain way's from the
video.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from benchmarks.bench_shards import Sample, samples_of
from benchmarks.plain_loader import FACE, SIZE, open_video, plain_clip, plain_indices
from benchmarks.result import Row
from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.data.loading.clip_times import ClipSampler
from maedfer.data.loading.views import FULL_BOX, prepare_clips
from maedfer.data.shards.encoding import decode_frames
from maedfer.data.shards.records import TrackRecord


def clip_difference(folder: Path, videos: Sequence[Path]) -> Row:
    """Mean absolute difference in grey levels, PSNR, and the largest difference in time.

    Args:
        folder: shards of the videos.
        videos: one clip of each is compared, each starting elsewhere.
    """
    by_name = {path.name: path for path in videos}
    absolute, squared, times = [], [], []
    for number, sample in enumerate(samples_of(folder)):
        record = TrackRecord.from_json(sample["json"])
        start = 2 * number % ClipSampler(record.frames, record.fps).last_start
        ours, our_times = our_clip(sample, start)
        plain, plain_times = plain_kept_clip(by_name[Path(record.source).name], our_times[0])
        difference = (ours - plain).double()
        absolute.append(difference.abs().mean().item())
        squared.append(difference.square().mean().item())
        times.append(np.abs(our_times - plain_times).max())
    return {
        "levels": float(np.mean(absolute)),
        "psnr_db": psnr(float(np.mean(squared))),
        "apart_ms": 1000 * float(np.max(times)),
    }


def psnr(mean_square: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared difference in levels of 255."""
    return float(10 * np.log10(255**2 / max(mean_square, 1e-12)))


def our_clip(sample: Sample, start: int) -> tuple[torch.Tensor, np.ndarray]:
    """A stored clip as training gets it, back in levels of 255 (3, T, H, W), and its times in the source."""
    record = TrackRecord.from_json(sample["json"])
    frames = next(sample[name] for name in ("mjpg", "mp4") if name in sample)
    clip = ClipSampler(record.frames, record.fps).clip_at(start)
    stored = torch.from_numpy(decode_frames(frames, record, clip.indices))
    batch = rearrange(stored, "t h w c -> 1 t c h w")
    prepared = prepare_clips(batch, torch.tensor([FULL_BOX]), torch.tensor([False]), SIZE)[0]
    return in_levels(prepared), record.start_s + clip.indices / record.fps


def plain_kept_clip(path: Path, start_s: float) -> tuple[torch.Tensor, np.ndarray]:
    """The plain way's clip of all that it keeps of a frame, in levels of 255 (3, T, H, W), and its times."""
    reader = open_video(str(path))
    rate = reader.get_avg_fps()
    indices = plain_indices(round(start_s * rate), len(reader))
    images = [Image.fromarray(frame).crop(FACE) for frame in reader.get_batch(indices.tolist()).asnumpy()]
    return in_levels(plain_clip(images, (0, 0, *images[0].size))), indices / rate


def in_levels(clip: torch.Tensor) -> torch.Tensor:
    """Undo ImageNet's normalisation: values 0 to 255."""
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return 255 * (clip * std + mean)
