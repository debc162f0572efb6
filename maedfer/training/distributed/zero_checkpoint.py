"""DeepSpeed's checkpoints, which are folders: reading them, checking them, and replacing one by the next.

Every rank writes its part, so a folder cannot be written in one go. It is written aside (`last.ckpt.part`),
and when all ranks are done, the first one swaps it in by two renames: the folder of before becomes
`last.ckpt.old`, the new one takes its place. After a kill at any moment either a whole `last.ckpt` is there,
or the kill came between the two renames; then `last.ckpt.old` is there without it, and the part is whole.

The files are pickles, as DeepSpeed writes them: read only those you trust.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

UNREADABLE = (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError)
"""What reading a damaged checkpoint raises."""


def aside(path: Path) -> Path:
    """Where the next checkpoint is written before it takes the place of `path`."""
    return path.with_name(f"{path.name}.part")


def before(path: Path) -> Path:
    """Where the checkpoint of before lies while the next one takes its place."""
    return path.with_name(f"{path.name}.old")


def discard(path: Path) -> None:
    """Remove a folder or a file, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace_checkpoint(path: Path) -> None:
    """Put the folder that was written aside in the place of `path`."""
    if path.exists():
        discard(before(path))
        path.rename(before(path))
    aside(path).rename(path)
    discard(before(path))


def repair_checkpoint(path: Path) -> None:
    """Finish a replacement that a kill broke off, and remove what a kill left behind."""
    if before(path).exists() and not path.exists():
        source = aside(path) if aside(path).exists() else before(path)
        source.rename(path)
    for rest in (before(path), aside(path)):
        discard(rest)


def whole_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` means to who only reads: the one before, while it is being replaced."""
    return before(path) if before(path).exists() and not path.exists() else path


@dataclass(frozen=True)
class ZeroCheckpoint:
    """What a checkpoint folder says of itself.

    Attributes:
        path: the folder.
        stage: the stage of ZeRO that wrote it.
        ranks: the number of ranks that wrote it.
        step: optimizer step.
        shapes: shape of each parameter and buffer by its name.
    """

    path: Path
    stage: int
    ranks: int
    step: int
    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, path: Path, flag: str) -> ZeroCheckpoint:
        """Read what a folder says, without its weights (at stage 3; at others the first rank holds them all).

        Args:
            path: the folder.
            flag: how the user gave it, for messages.

        Raises:
            ValueError: it is damaged, or none of ours.
        """
        try:
            saved = _first_part(path)
            stage = int(saved["ds_config"]["zero_optimization"]["stage"])
            whole = {name: values.shape for name, values in _whole(saved, stage).items()}
            groups = [*saved["param_shapes"], saved["frozen_param_shapes"] or {}, whole]
            shapes = {name: tuple(shape) for group in groups for name, shape in group.items()}
            return cls(path, stage, int(saved["dp_world_size"]), int(saved["global_step"]), shapes)
        except (*UNREADABLE, ValueError) as error:
            raise ValueError(f"{flag}: {path} is damaged, or not a checkpoint of a run") from error

    def state_dict(self, flag: str) -> dict[str, Tensor]:
        """All parameters and buffers, float32, merged from the parts of all ranks.

        Raises:
            ValueError: DeepSpeed is not installed, or a part is damaged or missing.
        """
        if find_spec("deepspeed") is None:
            raise ValueError(
                f"{flag}: {self.path} was written by DeepSpeed, which is needed to read it: pip install "
                "'maedfer[deepspeed]'"
            )
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        silence = io.StringIO()
        try:
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                merged = get_fp32_state_dict_from_zero_checkpoint(str(self.path))
            # The merger knows of frozen parameters from stage 2 on.
            return {**_whole(_first_part(self.path), self.stage), **merged}
        except (*UNREADABLE, ValueError) as error:
            raise ValueError(f"{flag}: {self.path} is damaged: {error}") from error

    def refuse_other(self, stage: int, ranks: int, flag: str) -> None:
        """Refuse to resume with another stage or another number of ranks than wrote it.

        Raises:
            ValueError: names both, and the remedy.
        """
        if (stage, ranks) != (self.stage, self.ranks):
            raise ValueError(
                f"{flag} was written by {self.ranks} ranks under ZeRO {self.stage}, this run has {ranks} "
                f"under ZeRO {stage}: resume as it was, or start a new run from its weights with --init-from"
            )


def _first_part(path: Path) -> dict[str, Any]:
    """What the first rank wrote, its tensors left on the disk."""
    first = min((path / "checkpoint").glob("*model_states.pt"))
    return torch.load(first, map_location="cpu", weights_only=False, mmap=True)


def _whole(saved: dict[str, Any], stage: int) -> dict[str, Tensor]:
    """Parameters and buffers that lie whole in the first part; of parameters, none at stage 3."""
    names = saved["buffer_names"] if stage == 3 else saved["module"]
    return {name: saved["module"][name] for name in names}


def read_weights(path: Path, flag: str) -> dict[str, Any]:
    """`global_step`, `ranks` and `state_dict` of a checkpoint folder, as those of a plain checkpoint.

    Raises:
        ValueError: it is damaged, or its run has replaced it meanwhile.
    """
    folder = path.stat().st_ino
    checkpoint = ZeroCheckpoint.of(path, flag)
    state = checkpoint.state_dict(flag)
    if not path.exists() or path.stat().st_ino != folder:
        raise ValueError(f"{flag}: the run has just replaced {path}: once more, please")
    return {"global_step": checkpoint.step, "ranks": checkpoint.ranks, "state_dict": state}
