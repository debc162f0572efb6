"""Reads, checks and replaces the checkpoints of DeepSpeed, which are folders.

Every rank writes its part, so a folder cannot be written in one operation. It is written aside
(`last.ckpt.part`), and when all ranks are done, the first one swaps it in by two renames: the previous folder
becomes `last.ckpt.old`, the new one takes its place. After a kill at any moment either a complete `last.ckpt`
is there, or the kill came between the two renames; then `last.ckpt.old` is there without it, and the part is
complete.

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

from maedfer.errors import UserError

UNREADABLE = (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError)
"""Exceptions that reading a damaged checkpoint raises."""


def aside(path: Path) -> Path:
    """Returns the path under which the next checkpoint is written before it replaces `path`."""
    return path.with_name(f"{path.name}.part")


def before(path: Path) -> Path:
    """Returns the path of the previous checkpoint while the next one replaces it."""
    return path.with_name(f"{path.name}.old")


def discard(path: Path) -> None:
    """Removes a folder or a file, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace_checkpoint(path: Path) -> None:
    """Replaces `path` by the folder that was written aside."""
    if path.exists():
        discard(before(path))
        path.rename(before(path))
    aside(path).rename(path)
    discard(before(path))


def repair_checkpoint(path: Path) -> None:
    """Finishes a replacement that a kill interrupted, and removes what a kill left behind."""
    if before(path).exists() and not path.exists():
        source = aside(path) if aside(path).exists() else before(path)
        source.rename(path)
    for leftover in (before(path), aside(path)):
        discard(leftover)


def whole_checkpoint(path: Path) -> Path:
    """Returns the path to read from: the previous checkpoint while a new one is being swapped in."""
    return before(path) if before(path).exists() and not path.exists() else path


@dataclass(frozen=True)
class ZeroCheckpoint:
    """The metadata of a checkpoint folder.

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
    def of(cls, path: Path, parameter: str | None) -> ZeroCheckpoint:
        """Reads the metadata of a folder, without its weights.

        Args:
            path: the folder.
            parameter: name of the parameter that led to it, for messages.

        Raises:
            UserError: it is damaged, or not a checkpoint of a run.
        """
        try:
            saved = _first_part(path)
            stage = int(saved["ds_config"]["zero_optimization"]["stage"])
            whole = {name: values.shape for name, values in _whole(saved, stage).items()}
            groups = [*saved["param_shapes"], saved["frozen_param_shapes"] or {}, whole]
            shapes = {name: tuple(shape) for group in groups for name, shape in group.items()}
            return cls(path, stage, int(saved["dp_world_size"]), int(saved["global_step"]), shapes)
        except (*UNREADABLE, ValueError) as error:
            raise UserError(parameter, f"{path} is damaged, or not a checkpoint of a run") from error

    def state_dict(self, parameter: str | None) -> dict[str, Tensor]:
        """Returns all parameters and buffers, float32, merged from the parts of all ranks.

        Raises:
            UserError: DeepSpeed is not installed, or a part is damaged or missing.
        """
        if find_spec("deepspeed") is None:
            raise UserError(
                parameter,
                f"{self.path} was written by DeepSpeed, which is needed to read it: pip install "
                "'maedfer[deepspeed]'",
            )
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        silence = io.StringIO()
        try:
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                merged = get_fp32_state_dict_from_zero_checkpoint(str(self.path))
            # DeepSpeed merges frozen parameters from stage 2 on.
            return {**_whole(_first_part(self.path), self.stage), **merged}
        except (*UNREADABLE, ValueError) as error:
            raise UserError(parameter, f"{self.path} is damaged: {error}") from error

    def check_same(self, stage: int, ranks: int) -> None:
        """Checks that a run that resumes it has the stage and the number of ranks that wrote it.

        Raises:
            UserError: it has others; names both, and the remedy.
        """
        if (stage, ranks) != (self.stage, self.ranks):
            raise UserError(
                "resume",
                f"{self.path} was written by {self.ranks} ranks under ZeRO {self.stage}, this run has "
                f"{ranks} under ZeRO {stage}: resume as it was, or start a new run from its weights with "
                "`init_from`",
            )


def _first_part(path: Path) -> dict[str, Any]:
    """Reads the part of the first rank; its tensors are mapped, not loaded."""
    first = min((path / "checkpoint").glob("*model_states.pt"))
    part: dict[str, Any] = torch.load(first, map_location="cpu", weights_only=False, mmap=True)
    return part


def _whole(saved: dict[str, Any], stage: int) -> dict[str, Tensor]:
    """Returns the parameters and buffers that the first part holds complete; at stage 3 only buffers."""
    names = saved["buffer_names"] if stage == 3 else saved["module"]
    return {name: saved["module"][name] for name in names}


def read_weights(path: Path, parameter: str | None) -> dict[str, Any]:
    """Returns `global_step`, `ranks` and `state_dict` of a checkpoint folder.

    Raises:
        UserError: it is damaged, or its run has replaced it meanwhile.
    """
    folder = path.stat().st_ino
    checkpoint = ZeroCheckpoint.of(path, parameter)
    state = checkpoint.state_dict(parameter)
    if not path.exists() or path.stat().st_ino != folder:
        raise UserError(parameter, f"{path} was replaced while being read; run the command again")
    return {"global_step": checkpoint.step, "ranks": checkpoint.ranks, "state_dict": state}
