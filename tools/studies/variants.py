"""Ways to pre-train, as flags behind `maedfer pretrain --config pretrain/demo`.

The demo recipe is what is shipped; the published recipe is the paper's optimizer, masks, targets and decoder
at the same small shape, with the demo's mask ratio, learning rate and warm-up. A *piece* is the former with
one thing put back or left out, a *lever* the latter with one thing changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Flags = Sequence[str]

DEMO = "demo recipe"
PUBLISHED = "published recipe"
JOINT = "joint attention (VideoMAE)"

BATCH = "--data.batch_size"
CLIPS_PER_STEP = 16
"""Clips of a step of the demo recipe."""

_JOINT_ENCODER = (
    *("--model.architecture", "vit_joint_tiny_patch8_64"),
    *("--model.model_args", "{img_size: 48, num_frames: 8, positions: 3d}"),
)
_ONE_D = ("--model.model_args", "{img_size: 48, num_frames: 8, region_size: [2, 3, 6], positions: 1d}")

_PUT_BACK: Mapping[str, Flags] = {
    "AdamW": ("--model.optimizer", "adamw"),
    "tube masks": ("--model.mask_mode", "tube"),
    "motion within a tubelet": ("--model.motion_group", "null"),
    "no floor of targets": ("--model.target_std_floor", "0"),
    "motion weight 0.5": ("--model.appearance_weight", "0.5"),
    "joint decoder": ("--model.decoder_attention", "joint"),
    "random heads at first": ("--model.zero_init_heads", "false"),
    "1-D positions": _ONE_D,
}
"""What the shipped recipe changed, each put back as published."""

_HALF = ("--model.base_lr", "8e-3", "--model.min_lr", "8e-5")
_QUARTER = ("--model.base_lr", "4e-3", "--model.min_lr", "4e-5")

_RATES: Mapping[str, Flags] = {
    "four times the learning rate": ("--model.base_lr", "6.4e-2", "--model.min_lr", "6.4e-4"),
    "twice the learning rate": ("--model.base_lr", "3.2e-2", "--model.min_lr", "3.2e-4"),
    "half the learning rate": _HALF,
    "longer warm-up": ("--model.warmup_share", "0.2"),
    "batches of 8": (BATCH, "8"),
    "batches of 32": (BATCH, "32"),
}
"""How fast to learn. The learning rate follows the batch, as in the paper; a budget stays one of clips."""

PIECES: Mapping[str, Flags] = {
    **_PUT_BACK,
    # Rates are Muon's, and AdamW wants lower ones.
    "AdamW, half the learning rate": (*_PUT_BACK["AdamW"], *_HALF),
    "AdamW, a quarter of the learning rate": (*_PUT_BACK["AdamW"], *_QUARTER),
    "without motion": ("--model.appearance_weight", "1"),
    "without appearance": ("--model.appearance_weight", "0"),
    "mask ratio 0.5": ("--model.mask_ratio", "0.5"),
    "mask ratio 0.6": ("--model.mask_ratio", "0.6"),
    "mask ratio 0.9": ("--model.mask_ratio", "0.9"),
    "4 clips of each sample": ("--data.clips_per_sample", "4"),
    "joint decoder, upstream's positions": (
        *("--model.decoder_attention", "joint", "--model.decoder_positions", "official"),
    ),
    "half of the tokens predicted": ("--model.predicted_share", "0.5"),
    "a sixth of the tokens predicted": ("--model.predicted_share", "0.1667"),
    "decoder of one block": ("--model.decoder_depth", "1"),
    "decoder of four blocks": ("--model.decoder_depth", "4"),
    **_RATES,
}
"""The shipped recipe with one piece changed; upstream's positions are to be read beside the joint decoder."""

_PUBLISHED: Flags = tuple(flag for flags in _PUT_BACK.values() for flag in flags)

_LEVERS: Mapping[str, Flags] = {
    "Muon": ("--model.optimizer", "muon"),
    "random masks": ("--model.mask_mode", "random"),
    "floor of targets 0.05": ("--model.target_std_floor", "0.05"),
    "motion weight 0.8": ("--model.appearance_weight", "0.2"),
    "cross decoder": ("--model.decoder_attention", "cross"),
    "heads at zero": ("--model.zero_init_heads", "true"),
    "3-D positions": (
        "--model.model_args",
        "{img_size: 48, num_frames: 8, region_size: [2, 3, 6], positions: 3d}",
    ),
    "mask ratio 0.6": ("--model.mask_ratio", "0.6"),
    "motion from the first frame": ("--model.motion_group", "8"),
    "mask ratio 0.9": ("--model.mask_ratio", "0.9"),
    "4 clips of each sample": ("--data.clips_per_sample", "4"),
    **_RATES,
}

LEVERS: Mapping[str, Flags] = {
    f"published + {name}": (*_PUBLISHED, *flags) for name, flags in _LEVERS.items()
}
"""The published recipe with one lever pulled."""

OTHER_TARGETS = (
    *("no floor of targets", "motion within a tubelet", "published + floor of targets 0.05"),
    "published + motion from the first frame",
)
"""Variants with other targets than those of their question: their errors say nothing beside its."""

VARIANTS: Mapping[str, Flags] = {
    DEMO: (),
    PUBLISHED: _PUBLISHED,
    JOINT: _JOINT_ENCODER,
    **PIECES,
    **LEVERS,
}


def batch_of(variant: str) -> int:
    """Clips of a step."""
    flags = VARIANTS[variant]
    return int(flags[flags.index(BATCH) + 1]) if BATCH in flags else CLIPS_PER_STEP
