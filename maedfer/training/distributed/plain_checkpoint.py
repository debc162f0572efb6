"""Writes a checkpoint in one file and replaces the previous one by a rename.

Lightning writes its file to the folder for temporary files first and moves it from there. Where that is
another disk, as on the nodes of a cluster, moving overwrites the previous checkpoint while the new one is
copied; a kill meanwhile would leave neither.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from maedfer.training.distributed.zero_checkpoint import aside


class RenamedFile(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, on the same disk, and renames it when complete."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint; Lightning calls this on the first rank only."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path).open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        aside(path).replace(path)
