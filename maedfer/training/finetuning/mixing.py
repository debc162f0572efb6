"""Augments a batch on the device: random erasing within clips, mixup and cutmix between clips.

A box spans height and width and is the same in all frames of a clip (timm's CutMix would cut time and
height). Boxes and shares are drawn on the CPU, so that they are the same on every device. Departure from
upstream: a clip is mixed with its neighbour in the batch, not with the clip at the mirrored position, so that
a batch may be odd.
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
from maedfer.errors import UserError
from maedfer.randomness import seed_of


@torch.no_grad()
def erase(clips: Tensor, seeds: Sequence[int], probability: float) -> Tensor:
    """Fills a box of some clips, 2 to 33 % of the frame, with noise (random erasing, arXiv 1708.04896).

    The box is the same in all frames of a clip, the noise differs in every frame and pixel, as upstream.

    Args:
        clips: float (B, 3, T, H, W), normalised; not changed in place.
        seeds: B numbers; each clip is erased by its own seed alone.
        probability: probability in 0..1 that a clip is erased.

    Returns:
        Clips of the same shape.
    """
    if probability == 0:
        return clips
    clips = clips.clone()
    for clip, seed in zip(clips, seeds, strict=True):
        _erase_box(clip, seed, probability)
    return clips


def _erase_box(clip: Tensor, seed: int, probability: float) -> None:
    """Erases a box of one clip (3, T, H, W) in place, or does nothing.

    The box is drawn on the CPU, the noise on the device of the clip, as copying noise would delay a GPU.
    """
    with seeded(seed, "erase"):
        if torch.rand(()) >= probability:
            return
        drawn = v2.RandomErasing().make_params([clip])
    if drawn["v"] is None:  # no box fits the frame
        return
    top, left, height, width = (drawn[name] for name in "ijhw")
    box = clip[..., top : top + height, left : left + width]
    noise = torch.Generator(clip.device).manual_seed(seed_of(seed, "noise") >> 65)
    box.copy_(torch.randn(box.shape, generator=noise, device=clip.device, dtype=clip.dtype))


@dataclass(frozen=True)
class Mixing:
    """Mixup (arXiv 1710.09412) or cutmix (arXiv 1905.04899) of a batch, each in half of the batches.

    Attributes:
        mixup: parameter of mixup's Beta distribution; 0 turns it off.
        cutmix: parameter of cutmix's Beta distribution; 0 turns it off.

    Raises:
        UserError: a negative number.
    """

    mixup: float
    cutmix: float

    def __post_init__(self) -> None:
        for name, value in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if value < 0:
                raise UserError(name, f"{value} must be 0 (off) or above")

    def __call__(self, clips: Tensor, targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Mixes every clip and its target with the previous clip of the batch, all with the same share.

        Args:
            clips: float (B, 3, T, H, W).
            targets: float (B, K), of any task.
            seed: seed of the draws.

        Returns:
            Clips and targets of the same shapes; the arguments if there is nothing to mix (a single clip, or
            both off).
        """
        kinds = [v2.MixUp(alpha=self.mixup)] if self.mixup else []
        kinds += [v2.CutMix(alpha=self.cutmix)] if self.cutmix else []
        if not kinds or len(clips) == 1:
            return clips, targets
        video = tv_tensors.Video(rearrange(clips, "b c t h w -> b t c h w"))
        with seeded(seed, "mixing"):
            mixed, mixed_targets = v2.RandomChoice(kinds)(video, targets)
        return rearrange(mixed.as_subclass(Tensor), "b t c h w -> b c t h w"), mixed_targets
