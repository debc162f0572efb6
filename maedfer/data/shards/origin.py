"""The `geometry` and `made_by` of an index: how faces were cropped, and which programs made the shards."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def describe_geometry(
    detector: str, size: int, margin: float, rotated: bool, squeezed: bool = False
) -> dict[str, Any]:
    """Returns the `geometry` of an index.

    Args:
        detector: Name of the detector.
        size: Side of the stored frames in pixels.
        margin: Share of the face box added on every side.
        rotated: Whether eye lines were levelled.
        squeezed: Whether frames that were not square were squeezed to squares; noted only where they were.
    """
    plain = {"detector": detector, "size": size, "margin": margin, "rotated": rotated}
    return plain | {"squeezed": True} if squeezed else plain


def made_by(program: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `made_by` of an index: program, version of maedfer, settings that decide the bytes."""
    try:
        release = version("maedfer")
    except PackageNotFoundError:  # run from a checkout
        release = "unknown"
    return {"program": program, "version": release, "settings": dict(settings)}


def is_synthetic(maker: Mapping[str, Any]) -> bool:
    """Returns whether a `made_by`, or that of a merged folder, says that its faces were drawn."""
    inner = [item for value in maker.values() for item in (value if isinstance(value, list) else [value])]
    nested = any(is_synthetic(item) for item in inner if isinstance(item, Mapping))
    return nested or maker.get("synthetic") is True
