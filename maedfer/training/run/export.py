"""What a run leaves for others: `encoder/` for `maedfer.load_encoder`, `classifier/` for `load_classifier`.

Both hold weights, a configuration, and a card that says their limits.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from maedfer.constants import FRAME_INTERVAL_S, IMAGENET_MEAN, IMAGENET_STD
from maedfer.data.loading.datamodule import ClipDataModule


def origin(data: ClipDataModule, steps: int, clips: int) -> dict[str, Any]:
    """What every model says of its training."""
    return {
        "steps": steps,
        "clips_seen": clips,
        "shards": Path(data.shards).name,
        "shards_made_by": dict(data.index.made_by),
        "synthetic": data.is_synthetic,
        "frame_crop": data.frame_crop,
        "maedfer": version("maedfer"),
        "torch": version("torch"),
    }


def conventions(data: ClipDataModule) -> dict[str, Any]:
    """How clips have to be made for a model."""
    return {
        "geometry": dict(data.index.geometry),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "frame_interval_s": data.frame_interval_s or FRAME_INTERVAL_S,
    }
