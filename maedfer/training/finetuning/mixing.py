"""Augmentation of a batch on the device: random erasing within clips, mixup and cutmix between them.

All three know that a clip has frames: a box spans height and width and serves the whole clip (timm's CutMix
would cut time and height). Torchvision draws and mixes; boxes and shares are drawn on the CPU, the same for
every kind of device. Departure from upstream: a clip is mixed with its neighbour in the batch, not with its
mirror image in the order, so that a batch may be odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from maedfer.data.loading.rand_augment import seeded
from maedfer.randomness import seed_of


@torch.no_grad()
def erase(clips: Tensor, seeds: Sequence[int], probability: float) -> Tensor:
    """Random erasing (arXiv 1708.04896): fill a box of some clips with noise, 2 to 33 % of the frame.

    One box per clip, fresh noise in every frame and pixel, as upstream has it.

    Args:
        clips: float (B, 3, T, H, W), normalised; left as they are.
        seeds: B numbers, one per clip: what happens to a clip depends on its own alone.
        probability: with which a clip is erased.

    Returns:
        Clips of the same shape.

    Raises:
        ValueError: a probability out of range.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"--model.erasing {probability} is a probability, between 0 and 1")
    if probability == 0:
        return clips
    clips = clips.clone()
    for clip, seed in zip(clips, seeds, strict=True):
        _erase_box(clip, seed, probability)
    return clips


def _erase_box(clip: Tensor, seed: int, probability: float) -> None:
    """Erase a box of one clip (3, T, H, W) in place, or do nothing.

    The box is drawn on the CPU, the noise where the clip is: noise for a batch from the CPU would hold up a
    GPU.
    """
    with seeded(seed, "erase"):
        if torch.rand(()) >= probability:
            return
        drawn = v2.RandomErasing().make_params([clip])
    if drawn["v"] is None:  # no box fitted the frame
        return
    top, left, height, width = (drawn[name] for name in "ijhw")
    box = clip[..., top : top + height, left : left + width]
    noise = torch.Generator(clip.device).manual_seed(seed_of(seed, "noise") >> 65)
    box.copy_(torch.randn(box.shape, generator=noise, device=clip.device, dtype=clip.dtype))


@dataclass(frozen=True)
class Mixing:
    """Mixup (arXiv 1710.09412) or cutmix (arXiv 1905.04899) of a batch, each in half of the batches.

    Attributes:
        mixup: Parameter of mixup's Beta distribution; 0 turns it off.
        cutmix: Parameter of cutmix's; 0 turns it off.

    Raises:
        ValueError: a negative number.
    """

    mixup: float
    cutmix: float

    def __post_init__(self) -> None:
        if min(self.mixup, self.cutmix) < 0:
            raise ValueError(
                f"--model.mixup {self.mixup} and --model.cutmix {self.cutmix} must be 0 (off) or above"
            )

    def __call__(self, clips: Tensor, targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Mix every clip, and its target, with the clip before it in the batch; one share for the batch.

        Args:
            clips: float (B, 3, T, H, W).
            targets: float (B, K), of any task.
            seed: decides everything that is drawn.

        Returns:
            Clips and targets of the same shapes; the same ones where nothing is mixed (a single clip, or both
            off).
        """
        kinds = [v2.MixUp(alpha=self.mixup)] if self.mixup else []
        kinds += [v2.CutMix(alpha=self.cutmix)] if self.cutmix else []
        if not kinds or len(clips) == 1:
            return clips, targets
        video = tv_tensors.Video(rearrange(clips, "b c t h w -> b t c h w"))
        with seeded(seed, "mixing"):
            mixed, mixed_targets = v2.RandomChoice(kinds)(video, targets)
        return rearrange(mixed.as_subclass(Tensor), "b t c h w -> b c t h w"), mixed_targets
