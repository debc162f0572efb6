"""The intermediate files of a pack run, and filling shards from them.

The folder `<out>/.pack/` holds `plan.json` (settings and sources of the run) and, for each source, its result
`<number>.json` and its samples `<number>.tar`. Shards are filled in the order of the sources, in whichever
order workers finish: bytes do not depend on the number of workers, and a run that was killed continues from
the results that are there. The samples of a source are deleted once their shards are written.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maedfer.data.pack.job import SourceResult
from maedfer.data.shards.format import ShardEntry, read_shard, shard_name, write_shard
from maedfer.errors import UserError
from maedfer.files import dump_json, make_folder, write_atomically

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]  # Windows has no such module

SPOOL = ".pack"


class Spool:
    """The folder `.pack` in the output folder of a run."""

    def __init__(self, out: Path) -> None:
        self.folder = out / SPOOL
        self.plan_path = self.folder / "plan.json"

    def plan(self) -> dict[str, Any] | None:
        """Returns settings and sources of the run that was begun here, or None."""
        if not self.plan_path.is_file():
            return None
        plan: dict[str, Any] = json.loads(self.plan_path.read_bytes())
        return plan

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Writes the plan of a new run."""
        make_folder(self.folder.parent)  # named in messages
        make_folder(self.folder)
        write_atomically(self.plan_path, dump_json(plan))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder against other runs; the system releases the lock of a run that was killed.

        Raises:
            UserError: another run writes into the folder.
        """
        with (self.folder / "lock").open("w") as stream:
            try:
                if fcntl is not None:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    "out",
                    f"another `maedfer pack` is writing into {self.folder.parent}: wait for it, or name "
                    "another folder",
                ) from error
            yield

    def samples(self, number: int) -> Path:
        """Returns the path of the samples of a source."""
        return self.folder / f"{number:07d}.tar"

    def save(self, number: int, result: SourceResult) -> None:
        """Writes the result of a source, whose samples are already there."""
        write_atomically(self._result(number), result.to_line())

    def load(self, number: int) -> SourceResult | None:
        """Returns the result of a source that is done, or None."""
        path = self._result(number)
        return SourceResult.from_line(path.read_bytes()) if path.is_file() else None

    def shard_note(self, name: str) -> Path:
        """Returns the path of the index entry of a finished shard."""
        return self.folder / f"{name}.json"

    def remove(self) -> None:
        """Deletes the folder of a finished run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _result(self, number: int) -> Path:
        return self.folder / f"{number:07d}.json"


@dataclass
class _Filling:
    """A shard that is being filled: (source number, key) of its samples, and their bytes."""

    number: int = 0
    samples: list[tuple[int, str]] = field(default_factory=list)
    bytes: int = 0


class ShardFiller:
    """Takes results in the order of the sources and writes each shard as soon as it is full.

    Args:
        out: The folder of the shards.
        spool: The folder of the samples.
        max_bytes: Bytes per shard, at most, unless a single sample is larger.
        max_samples: Samples per shard, at most.
    """

    def __init__(self, out: Path, spool: Spool, max_bytes: int, max_samples: int) -> None:
        self.out, self.spool, self.max_bytes, self.max_samples = out, spool, max_bytes, max_samples
        self.entries: list[ShardEntry] = []
        self._filling: dict[str, _Filling] = defaultdict(_Filling)
        self._waiting: dict[int, int] = {}  # samples of a source that are not in a shard yet
        self._keys: set[str] = set()

    def add(self, number: int, split: str, result: SourceResult) -> None:
        """Adds the samples of the next source.

        Raises:
            UserError: two samples have the same key.
        """
        self._waiting[number] = len(result.samples)
        for key, size in result.samples:
            if key in self._keys:
                raise UserError(
                    "sources",
                    f"two samples have the key {key}: two sources of similar names have the same hash (very "
                    "rare); rename one of them",
                )
            self._keys.add(key)
            filling = self._filling[split]
            full = len(filling.samples) >= self.max_samples or filling.bytes + size > self.max_bytes
            if filling.samples and full:
                self._close(split)
            filling.samples.append((number, key))
            filling.bytes += size

    def finish(self) -> list[ShardEntry]:
        """Writes the shards that are not full and returns all entries, by split and number."""
        for split in sorted(self._filling):
            self._close(split)
        return sorted(self.entries, key=lambda entry: entry.name)

    def _close(self, split: str) -> None:
        filling = self._filling[split]
        if not filling.samples:
            return
        self.entries.append(self._write(shard_name(split, filling.number), filling.samples))
        for number, _ in filling.samples:
            self._waiting[number] -= 1
            if not self._waiting[number]:
                self.spool.samples(number).unlink(missing_ok=True)
        filling.number, filling.samples, filling.bytes = filling.number + 1, [], 0

    def _write(self, name: str, samples: list[tuple[int, str]]) -> ShardEntry:
        """Writes a shard, unless an earlier run noted that it did."""
        note, path = self.spool.shard_note(name), self.out / name
        if note.is_file() and path.is_file():
            return ShardEntry(**json.loads(note.read_bytes()))
        entry = write_shard(path, self._read(samples))
        write_atomically(note, dump_json(asdict(entry)))
        return entry

    def _read(self, samples: list[tuple[int, str]]) -> Iterator[dict[str, bytes]]:
        wanted: dict[int, set[str]] = defaultdict(set)
        for number, key in samples:
            wanted[number].add(key)
        for number, keys in wanted.items():  # in the order of the sources
            for sample in read_shard(self.spool.samples(number)):
                if sample["__key__"].decode() in keys:
                    yield sample
