"""Settings that are `correct`, or `official`: as upstream, whose published numbers rest on its behaviour."""

from __future__ import annotations

from typing import Literal

from maedfer.errors import UserError

Switch = Literal["correct", "official"]


def is_official(parameter: str, value: Switch) -> bool:
    """Returns whether a setting asks for upstream's behaviour.

    Raises:
        UserError: another value.
    """
    if value not in ("correct", "official"):
        raise UserError(parameter, f"{value} is unknown: take correct or official")
    return value == "official"
