"""`maedfer synthesize`: synthetic face videos with a label list, or an unlabelled bulk of shards."""

from __future__ import annotations

from maedfer.constants import FRAME_INTERVAL_S, NUM_FRAMES
from maedfer.data.shards.encoding import Encoding
from maedfer.data.synthetic.clips import SyntheticFaces
from maedfer.data.synthetic.dataset import write_shards, write_videos
from maedfer.errors import UserError


def synthesize(
    out: str,
    clips: int = 70,
    val_clips: int = 0,
    test_clips: int = 0,
    size: int = 64,
    seconds: float = 3.2,
    fps: float = 25.0,
    difficulty: str = "clean",
    seed: int = 0,
    shards: bool = False,
    encoding: Encoding = "jpeg",
    workers: int | None = None,
) -> str:
    """Makes synthetic faces that play seven expressions.

    Videos come with `list.csv` (path, label, subject, split), the input of `maedfer pack`. With `--shards`
    the clips go directly into a shard folder, without labels, each exactly one clip long, for pre-training.

    Args:
        out: Folder to write; it must not hold such files yet.
        clips: Clips of the train split; its people appear in no other split.
        val_clips: Clips of the val split.
        test_clips: Clips of the test split.
        size: Side of the frames in pixels, 32 to 160.
        seconds: Length of a video; shards hold 16 frames 0.16 s apart.
        fps: Frames per second of a video.
        difficulty: `clean`, `diverse` or `messy`.
        seed: Seed of all random draws.
        shards: Write shards, not videos.
        encoding: Format of the frames in shards, `jpeg` or `h264`.
        workers: Processes; by default one per core.

    Raises:
        UserError: a number out of range, or a folder that was written before.
    """
    asked = {"clips": ("train", clips), "val_clips": ("val", val_clips), "test_clips": ("test", test_clips)}
    for name, (_, count) in asked.items():
        if count < 0:
            raise UserError(name, f"{count} must not be negative")
    counts = {split: count for split, count in asked.values() if count}
    if not counts:
        raise UserError("clips", "0, like `val_clips` and `test_clips`: nothing to make")
    if shards:
        faces = SyntheticFaces(size, NUM_FRAMES, 1 / FRAME_INTERVAL_S, difficulty, seed)
        index = write_shards(out, faces, counts, encoding=encoding, labelled=False, workers=workers)
        return f"{sum(entry.samples for entry in index.shards)} synthetic clips in {out}"
    if fps > 0 and round(seconds * fps) < 1:
        raise UserError("seconds", f"{seconds} at `fps` {fps} is less than one frame")
    if size % 2:
        raise UserError("size", f"{size} must be even: videos are H.264")
    faces = SyntheticFaces(size, round(seconds * fps), fps, difficulty, seed)
    path = write_videos(out, faces, counts, workers)
    return f"{sum(counts.values())} synthetic videos listed in {path}"
