"""Writes files atomically, dumps JSON with sorted keys, and hashes files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any


def dump_json(value: Any, indent: int | None = None) -> bytes:
    """JSON with sorted keys, so that equal values give equal bytes; NaN is refused."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )
    return text.encode() + b"\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under `<name>.part` and rename it, so that readers never see half of it."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def sha256(path: Path) -> str:
    """Checksum of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def defined(value: Any) -> Any:
    """The same with None in the place of numbers that are none, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: defined(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [defined(inner) for inner in value]
    return None if isinstance(value, float) and isnan(value) else value
