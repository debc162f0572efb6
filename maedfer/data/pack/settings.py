"""The settings of `maedfer pack` beyond those of the crops."""

from __future__ import annotations

from dataclasses import dataclass

from maedfer.data.shards.encoding import Encoding


@dataclass(frozen=True)
class StoreSettings:
    """Decides how crops are stored: `encoding` and its `quality` (JPEG quality or H.264 rate factor)."""

    encoding: Encoding = "jpeg"
    quality: int = 85
