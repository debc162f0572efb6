"""Where a bench of the model runs, and on how much."""

from __future__ import annotations

import torch
from torch import nn

from maedfer.errors import UserError
from maedfer.models import LGIFormer


def chosen_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_batch(asked: int | None, usual: int) -> int:
    """Clips of a batch: those asked for, or as many as usual.

    Raises:
        UserError: less than one.
    """
    if asked is not None and asked < 1:
        raise UserError("batch_size", f"{asked} must be 1 or more")
    return usual if asked is None else asked


def lgi_former_only(encoder: nn.Module) -> None:
    """Refuse a model that has no plain way here.

    Raises:
        UserError: it is no LGI-Former.
    """
    if not isinstance(encoder, LGIFormer):
        raise UserError(
            "architecture", f"the plain way is written for an LGI-Former, not for {type(encoder).__name__}"
        )
