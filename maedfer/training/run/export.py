"""Collects what `config.json` says of every run, whatever it trains: how clips are made, and the training."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.models.config import InputSpec


def input_of(data: ClipDataModule) -> InputSpec:
    """Returns how the clips of a run are made; `save_encoder` takes the number of frames from the model."""
    return InputSpec(
        frame_interval_s=data.interval_s,
        geometry=dict(data.index.geometry),
        frame_crop=None if data.frame_crop is None else tuple(data.frame_crop),
        sampling=data.sampling,
    )


def provenance_of(data: ClipDataModule, steps: int, clips: int) -> dict[str, Any]:
    """Returns what every model says of its training."""
    return {
        "steps": steps,
        "clips_seen": clips,
        "shards": Path(data.shards).name,
        "shards_made_by": dict(data.index.made_by),
        "synthetic": data.is_synthetic,
        "maedfer": version("maedfer"),
        "torch": version("torch"),
    }
