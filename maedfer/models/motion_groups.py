"""Motion over more, or fewer, frames than a tubelet's: upstream's `frame_diff_group_size`, an ablation.

Frames of a clip come in groups of N; the first of each keeps its looks, the others become what they differ
by from it. The last group may be shorter (upstream fails there). A group of 1 changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor


def differences(clip: Tensor, group: int, dim: int = 2) -> Tensor:
    """Every frame of clips (B, C, T, H, W) minus the first of its group, which stays as it is.

    Args:
        clip: or frames along another dimension.
        group: frames of a group.
        dim: which dimension the frames are.
    """
    parts = [part.tensor_split([1], dim) for part in clip.split(group, dim)]
    return torch.cat([piece for first, later in parts for piece in (first, later - first)], dim)


def sums(clip: Tensor, group: int) -> Tensor:
    """The clips (B, C, T, H, W) that `differences` were made of."""
    return clip + _firsts(clip, group)


def _firsts(clip: Tensor, group: int) -> Tensor:
    """The first frame of the group at each later frame of it, zero at the first ones."""
    frames = torch.arange(clip.shape[2], device=clip.device)
    later = (frames % group > 0).to(clip.dtype)
    return clip[:, :, frames - frames % group] * later[:, None, None]


def check_motion_group(group: int | None) -> None:
    """Refuse a group without frames.

    Raises:
        ValueError: names the argument.
    """
    if group is not None and group < 1:
        raise ValueError(f"motion_group={group} must be 1 (no motion) or more frames")
