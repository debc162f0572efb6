"""Settings with two values: `correct`, or `official` for upstream's behaviour, as in published numbers."""

from __future__ import annotations

from typing import Literal

from maedfer.errors import UserError

Behaviour = Literal["correct", "official"]


def mimics_upstream(parameter: str, value: Behaviour) -> bool:
    """Returns whether a setting asks for upstream's behaviour.

    Raises:
        UserError: another value.
    """
    if value not in ("correct", "official"):
        raise UserError(parameter, f"{value} is unknown: take correct or official")
    return value == "official"
