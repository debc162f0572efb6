"""Names the files of a run folder, and decides whether a run may write to it.

`--resume` continues the same run, `--init-from` starts a new one from weights; the two are never mixed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maedfer.errors import UserError
from maedfer.files import dump_json, write_atomically


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run (DESIGN section 5)."""

    path: Path

    @property
    def config(self) -> Path:
        """The merged configuration, enough to start the same run elsewhere."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Folder of `last.ckpt` and `best.ckpt`."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint: a file, or a folder under DeepSpeed."""
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best held-out value so far."""
        return self.checkpoints / "best.ckpt"

    @property
    def figures(self) -> Path:
        """Folder of the pictures."""
        return self.path / "figures"

    @property
    def summary(self) -> Path:
        """The summary, written last, when a run has done all its steps."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The page about a finished run."""
        return self.path / "report.html"

    @property
    def exists(self) -> bool:
        """True if a run reached its first step here or in the folder of a fold; a run that was refused before
        leaves only its settings."""
        begun = ("metrics.csv", "checkpoints", "fold_*/metrics.csv", "fold_*/checkpoints")
        return any(True for pattern in begun for _ in self.path.glob(pattern))

    def finished(self) -> dict[str, Any]:
        """Returns the summary of a finished run, empty for any other."""
        if not self.summary.is_file():
            return {}
        summary: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        return summary

    def checkpoint_to_resume(self, resume: bool) -> Path | None:
        """Returns the checkpoint to continue from; None starts at step 0.

        Raises:
            UserError: the folder holds a run and `resume` is not set, or it holds something else.
        """
        if not resume:
            if self.exists:
                raise UserError(
                    "run",
                    f"{self.path} already holds a run: continue it with `resume`, or give another folder",
                )
            if self.path.is_dir() and any(self.path.iterdir()) and not self.config.exists():
                raise UserError("run", f"{self.path} is not empty and holds no run: give another folder")
            return None
        return self.last if self.last.exists() else None

    def finish(self, summary: dict[str, Any]) -> None:
        """Writes `summary.json`, which marks the run as finished."""
        write_atomically(self.summary, dump_json(summary, indent=1))
