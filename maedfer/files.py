"""Makes output folders, writes files atomically, dumps JSON with sorted keys, and hashes files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

from maedfer.errors import UserError


def make_folder(path: Path, parameter: str = "out") -> Path:
    """Makes an output folder where there is none, and returns it.

    Args:
        path: the folder; its parents are made too.
        parameter: the parameter that named the folder.

    Raises:
        UserError: it cannot be made, or files cannot be written into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(parameter, f"{path} cannot be made: {error.strerror}; name another folder") from error
    if not os.access(path, os.W_OK):
        raise UserError(parameter, f"{path} is not writable; name another folder")
    return path


def dump_json(value: Any, indent: int | None = None) -> bytes:
    """Returns JSON with sorted keys, so that equal values give equal bytes; NaN raises ValueError."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )
    return text.encode() + b"\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file as `<name>.part` and renames it, so that readers never see half of it."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def sha256(path: Path) -> str:
    """Returns the checksum of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def defined(value: Any) -> Any:
    """Replaces NaN, which JSON does not have, by None, in nested mappings and lists too."""
    if isinstance(value, Mapping):
        return {name: defined(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [defined(inner) for inner in value]
    return None if isinstance(value, float) and isnan(value) else value
