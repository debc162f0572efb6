"""Pretrains LGI-Former on face videos (MAE-DFER) and loads its encoders anywhere.

    encoder = maedfer.load_encoder("runs/x")  # a path, a registered name or a hub id

Names load on first use: importing this package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "from_official": "maedfer.models.official",
    "load_classifier": "maedfer.models.weights",
    "load_encoder": "maedfer.models.weights",
}

__all__ = ["__version__", "from_official", "load_classifier", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Imports a public name from its module on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return sorted(__all__)
