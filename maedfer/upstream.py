"""Settings with two values: `correct`, or `official` for what upstream does and published numbers rest on."""

from __future__ import annotations

from typing import Literal

Switch = Literal["correct", "official"]


def is_official(flag: str, value: Switch) -> bool:
    """Whether a setting asks for upstream's way.

    Raises:
        ValueError: another value, named with its flag.
    """
    if value not in ("correct", "official"):
        raise ValueError(f"{flag} {value} is unknown: take correct or official")
    return value == "official"
