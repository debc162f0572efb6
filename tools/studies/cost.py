"""What a variant costs, whatever machine it runs on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import yaml
from benchmarks.cost import flops_of

from maedfer.training.masked_pretraining import MaskedPretraining
from studies.trials import PRETRAIN, recipe
from studies.variants import VARIANTS


def model_settings(variant: str) -> dict[str, Any]:
    """The settings of the model that a variant pre-trains."""
    flags = VARIANTS[variant]
    changed = {
        flag.removeprefix("--model."): yaml.safe_load(value)
        for flag, value in zip(flags[::2], flags[1::2], strict=True)
        if flag.startswith("--model.")
    }
    return recipe(PRETRAIN)["model"] | changed


@cache
def gflop(variant: str) -> float:
    """Billions of operations of a forward pass of pre-training, for each clip.

    A step takes three times as many, and its optimizer's.
    """
    module = MaskedPretraining(**model_settings(variant))
    encoder, masks = module.mae.encoder, module.masks
    clip = torch.zeros(1, 3, encoder.num_frames, encoder.img_size, encoder.img_size)
    mask = torch.from_numpy(masks.draw(np.random.default_rng(0)))[None]
    with torch.no_grad():
        return flops_of(lambda: module.mae(clip, mask, module.num_masked, module.predicted([0]))) / 1e9
