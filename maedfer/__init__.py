"""Pretrain LGI-Former on face videos (MAE-DFER), and use the encoder anywhere.

    encoder = maedfer.load_encoder("runs/x")  # a path, a registered name or a hub id

Names load on first use: importing this package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "from_official": "maedfer.models.official",
    "load_classifier": "maedfer.models.weights",
    "load_encoder": "maedfer.models.weights",
}

__all__ = ["__version__", "from_official", "load_classifier", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
