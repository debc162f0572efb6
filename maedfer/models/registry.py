"""Registers the models with timm by name: `timm.create_model("lgi_former_base_patch16_160", num_classes=7)`.

A name says architecture, size, patch and image side. `base` is the published shape (width 512, 16 blocks);
`small` and `tiny` are ours, the last for a CPU. Any constructor argument of the class can be overridden, for
example `timm.create_model(name, img_size=48, region_size=(2, 3, 6))`. `lgi_former_*` is MAE-DFER's encoder,
`vit_joint_*` the joint-attention baseline (VideoMAE). None comes with weights: see `weights.load_encoder`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, cast

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.errors import UserError
from maedfer.models.arguments import check_arguments
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.mae import MaskedAutoencoder
from maedfer.models.vit import JointViT

LGI_BASE = {"embed_dim": 512, "depth": 16, "num_heads": 8}
LGI_SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6}
TINY = {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 4}
VIT_BASE = {"embed_dim": 768, "depth": 12, "num_heads": 12}

ARCHITECTURES: dict[str, tuple[type[VideoEncoder], dict[str, Any]]] = {
    # The published encoder: 16 x 160 x 160, 8 regions of (2, 5, 10) tokens.
    "lgi_former_base_patch16_160": (LGIFormer, LGI_BASE),
    # The published width and depth at 224 pixels, still 8 regions of upper and lower face.
    "lgi_former_base_patch16_224": (LGIFormer, LGI_BASE | {"img_size": 224, "region_size": (2, 7, 14)}),
    # Two fifths of the published size, same tokens and regions.
    "lgi_former_small_patch16_160": (LGIFormer, LGI_SMALL),
    # 7 x 7 tokens a frame, so a region is two whole token frames.
    "lgi_former_small_patch16_112": (LGIFormer, LGI_SMALL | {"img_size": 112, "region_size": (2, 7, 7)}),
    # For a CPU: 512 tokens of 8 x 8 pixels, 8 regions of upper and lower face.
    "lgi_former_tiny_patch8_64": (LGIFormer, TINY | {"region_size": (2, 4, 8)}),
    # VideoMAE's ViT-B: the baseline of the paper's tables.
    "vit_joint_base_patch16_160": (JointViT, VIT_BASE),
    "vit_joint_base_patch16_224": (JointViT, VIT_BASE | {"img_size": 224}),
    # Joint attention in LGI-Former's width and depth, to compare the attention alone.
    "vit_joint_base_dim512_patch16_160": (JointViT, LGI_BASE),
    "vit_joint_tiny_patch8_64": (JointViT, TINY),
}
"""Name -> class, and the arguments that differ from its defaults."""


CFG = {
    "num_classes": 0,
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "interpolation": "bilinear",
    "crop_pct": 1.0,
    "first_conv": "patch_embed.proj",
    "classifier": "head",
    "license": "mit",
}
# timm insists on three numbers of an input; frames are a model attribute.
SIZES = {name: (3, *[shape.get("img_size", 160)] * 2) for name, (_, shape) in ARCHITECTURES.items()}
default_cfgs = generate_default_cfgs({name: CFG | {"input_size": size} for name, size in SIZES.items()})


def _register(name: str) -> None:
    """Registers the function that builds an architecture with timm."""
    model, shape = ARCHITECTURES[name]

    def build(pretrained: bool = False, **kwargs: Any) -> VideoEncoder:
        args = shape | kwargs
        side = args.get("img_size", default_cfgs[name].default.input_size[-1])
        overlay = {"input_size": (3, side, side)} | (args.pop("pretrained_cfg_overlay", None) or {})
        features = {"out_indices": 3, "feature_cls": "getter"}
        return build_model_with_cfg(
            model, name, pretrained, feature_cfg=features, pretrained_cfg_overlay=overlay, **args
        )

    build.__name__ = name  # timm registers functions by their names
    register_model(build)


for _name in ARCHITECTURES:
    _register(_name)


def architectures() -> list[str]:
    """Returns the names registered here, sorted."""
    return sorted(ARCHITECTURES)


def unknown_architecture(name: str) -> UserError:
    """Returns the error for a name that is not registered, with the nearest that are."""
    near = difflib.get_close_matches(name, architectures(), n=3, cutoff=0.3) or architectures()
    return UserError("architecture", f"{name!r} is unknown; did you mean {', '.join(near)}?")


def build_encoder(architecture: str, model_args: Mapping[str, Any] | None = None) -> VideoEncoder:
    """Builds a fresh model by its name.

    Args:
        architecture: one of `architectures()`.
        model_args: constructor arguments that differ from the name's.

    Raises:
        UserError: an unknown name or argument (the nearest are listed), or a value of another type.
    """
    if architecture not in ARCHITECTURES:
        raise unknown_architecture(architecture)
    model_args = model_args or {}
    model, _ = ARCHITECTURES[architecture]
    check_arguments(model.__name__, model_args, model.Args, architecture)
    return cast(VideoEncoder, timm.create_model(architecture, **model_args))


def build_mae(
    architecture: str, model_args: Mapping[str, Any] | None = None, **decoder_args: Any
) -> MaskedAutoencoder:
    """Builds a fresh masked autoencoder: an encoder by its name, and the arguments of `MaskedAutoencoder`."""
    return MaskedAutoencoder(build_encoder(architecture, model_args), **decoder_args)
