"""What a variant costs, whatever machine it runs on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import lcm
from typing import Any

import numpy as np
import torch
from benchmarks.cost import flops_of

from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.steps.optimizer import build_optimizer
from studies.trials import PRETRAIN, Pretraining, read_yaml, recipe
from studies.variants import CLIPS_PER_STEP, VARIANTS, batch_of


def model_settings(variant: str) -> dict[str, Any]:
    """The settings of the model that a variant pre-trains."""
    flags = VARIANTS[variant]
    changed = {
        flag.removeprefix("--model."): read_yaml(value)
        for flag, value in zip(flags[::2], flags[1::2], strict=True)
        if flag.startswith("--model.")
    }
    return recipe(PRETRAIN)["model"] | changed


@cache
def gflop(variant: str) -> float:
    """Billions of operations of a step of pre-training, for each of its clips: model and optimizer.

    A backward pass counts as two forward passes. Of an optimizer only products of matrices count, which Muon
    has and AdamW has not.
    """
    module = MaskedPretraining(**model_settings(variant))
    encoder, masks = module.mae.encoder, module.masks
    clip = torch.zeros(1, 3, encoder.num_frames, encoder.img_size, encoder.img_size)
    mask = torch.from_numpy(masks.draw(np.random.default_rng(0)))[None]
    with torch.no_grad():
        forward = flops_of(lambda: module.mae(clip, mask, module.num_masked, module.predicted([0])))
    return (3 * forward + _of_optimizer(module) / batch_of(variant)) / 1e9


def at_equal_operations(one: Pretraining, reference: str) -> Pretraining:
    """The same pre-training, for as many operations as a reference has in that many clips.

    Args:
        one: a pre-training.
        reference: a variant.

    Returns:
        What costs less sees more clips; in whole steps, one at least.
    """
    whole = lcm(batch_of(one.variant), CLIPS_PER_STEP)
    clips = one.clips * gflop(reference) / gflop(one.variant)
    return replace(one, steps=max(1, round(clips / whole)) * whole // CLIPS_PER_STEP)


def _of_optimizer(module: MaskedPretraining) -> int:
    """Operations of one update, whatever the gradients are."""
    rates = module.optimizer_name, module.mae, module.parameter_groups(), 1e-3, (0.9, 0.95)
    for parameter in module.mae.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return flops_of(build_optimizer(*rates).step)
