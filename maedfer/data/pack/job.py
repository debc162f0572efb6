"""The messages between `maedfer pack` and its workers, one JSON line each: jobs and their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.faces.face_tracks import FailureStatus
from maedfer.data.pack.settings import StoreSettings
from maedfer.data.video.source import Source
from maedfer.files import dump_json

Status = Literal["ok"] | FailureStatus
STATUSES: tuple[Status, ...] = ("ok", *get_args(FailureStatus))


@dataclass(frozen=True)
class Job:
    """A source to pack.

    Attributes:
        source: The source.
        crop: Which faces are cut out, and how.
        store: How crops are stored.
        spool: Path of the file for its samples.
        label: Index of its label among the classes.
        votes: Votes in the order of the classes.
    """

    source: Source
    crop: CropSettings
    store: StoreSettings
    spool: str
    label: int | None = None
    votes: list[float] | None = None

    def to_line(self) -> bytes:
        """Returns the job as a JSON line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Job:
        """Reads a job from its JSON line."""
        values = json.loads(line)
        types = {"source": Source, "crop": CropSettings, "store": StoreSettings}
        return cls(**values | {name: make(**values[name]) for name, make in types.items()})


@dataclass
class SourceResult:
    """The outcome for a source: status and reason, and key and size of each sample in its spool file."""

    status: Status
    reason: str = ""
    samples: list[tuple[str, int]] = field(default_factory=list)

    def to_line(self) -> bytes:
        """Returns the result as a JSON line, also the content of its file in the spool folder."""
        return dump_json(asdict(self))

    @classmethod
    def from_line(cls, line: bytes) -> SourceResult:
        """Reads a result from its JSON line.

        Raises:
            WorkerFailed: the line says that the run cannot continue.
        """
        values: Mapping[str, Any] = json.loads(line)
        if "fatal" in values:
            raise WorkerFailed(values["fatal"], values["errno"])
        samples = [(key, size) for key, size in values.get("samples", ())]
        return cls(values["status"], values.get("reason", ""), samples)


class WorkerFailed(RuntimeError):
    """Reports that no worker can start, or the error (`errno`) for which a worker cannot continue."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def to_line(self) -> bytes:
        """Returns the failure as a JSON line."""
        return dump_json({"fatal": str(self), "errno": self.errno})
