"""Measures motion over other numbers of frames than a tubelet's: upstream's ablation `frame_diff_group_size`.

Frames of a clip come in groups of N; the first of each stays unchanged, the others become their differences
from it. The last group may be shorter (upstream fails there). A group of 1 changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maedfer.errors import UserError


def differences(clip: Tensor, group: int, dim: int = 2) -> Tensor:
    """Subtracts from every frame of clips (B, C, T, H, W) the first of its group, which stays unchanged.

    Args:
        clip: clips, or a tensor with frames along another dimension.
        group: frames of a group.
        dim: dimension of the frames.
    """
    parts = [part.tensor_split([1], dim) for part in torch.split(clip, group, dim)]
    return torch.cat([piece for first, later in parts for piece in (first, later - first)], dim)


def sums(clip: Tensor, group: int) -> Tensor:
    """Restores the clips (B, C, T, H, W) that `differences` was applied to."""
    return clip + _firsts(clip, group)


def _firsts(clip: Tensor, group: int) -> Tensor:
    """Returns, at each later frame of a group, the first frame of the group, and zero at first frames."""
    frames = torch.arange(clip.shape[2], device=clip.device)
    later = (frames % group > 0).to(clip.dtype)
    return clip[:, :, frames - frames % group] * later[:, None, None]


def check_motion_group(group: int | None) -> None:
    """Refuses a group without frames.

    Raises:
        UserError: the group is smaller than 1.
    """
    if group is not None and group < 1:
        raise UserError("motion_group", f"{group} must be 1 (no motion) or more frames")
