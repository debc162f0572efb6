"""Registers the models with timm by name: `timm.create_model("lgi_former_base_patch16_160", num_classes=7)`.

A name says architecture, size, patch and image side. `base` is the published shape (width 512, 16 blocks);
`small` and `tiny` are ours, the last for a CPU. Any constructor argument of the class can be overridden, for
example `timm.create_model(name, img_size=48, region_size=(2, 3, 6))`. `lgi_former_*` is MAE-DFER's encoder,
`vit_joint_*` the joint-attention baseline (VideoMAE). None comes with weights: see `weights.load_encoder`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_type_hints

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.errors import UserError
from maedfer.models.arguments import check_arguments
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.mae import MaskedAutoencoder
from maedfer.models.vit import JointViT

Encoder = TypeVar("Encoder", bound=VideoEncoder)
LGI_BASE = {"embed_dim": 512, "depth": 16, "num_heads": 8}
LGI_SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6}
TINY = {"patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 4}
VIT_BASE = {"embed_dim": 768, "depth": 12, "num_heads": 12}


def _cfg(img_size: int) -> dict[str, Any]:
    return {
        "input_size": (3, img_size, img_size),  # timm insists on three numbers; frames are a model attribute
        "num_classes": 0,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": "mit",
    }


default_cfgs = generate_default_cfgs(
    {
        "lgi_former_base_patch16_160": _cfg(160),
        "lgi_former_base_patch16_224": _cfg(224),
        "lgi_former_small_patch16_160": _cfg(160),
        "lgi_former_small_patch16_112": _cfg(112),
        "lgi_former_tiny_patch8_64": _cfg(64),
        "vit_joint_base_patch16_160": _cfg(160),
        "vit_joint_base_patch16_224": _cfg(224),
        "vit_joint_base_dim512_patch16_160": _cfg(160),
        "vit_joint_tiny_patch8_64": _cfg(64),
    }
)


def _build(
    model: type[Encoder], name: str, pretrained: bool, kwargs: dict[str, Any], **shape: Any
) -> Encoder:
    args = shape | kwargs
    side = args.get("img_size", default_cfgs[name].default.input_size[-1])
    args["pretrained_cfg_overlay"] = {"input_size": (3, side, side)} | (
        args.pop("pretrained_cfg_overlay", None) or {}
    )
    features = {"out_indices": 3, "feature_cls": "getter"}
    return build_model_with_cfg(model, name, pretrained, feature_cfg=features, **args)


@register_model
def lgi_former_base_patch16_160(pretrained: bool = False, **kwargs: Any) -> LGIFormer:
    """Builds the published encoder: 16 x 160 x 160, 8 regions of (2, 5, 10) tokens."""
    return _build(LGIFormer, "lgi_former_base_patch16_160", pretrained, kwargs, **LGI_BASE)


@register_model
def lgi_former_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> LGIFormer:
    """Builds the published width and depth at 224 pixels, still 8 regions of upper and lower face."""
    shape = LGI_BASE | {"img_size": 224, "region_size": (2, 7, 14)}
    return _build(LGIFormer, "lgi_former_base_patch16_224", pretrained, kwargs, **shape)


@register_model
def lgi_former_small_patch16_160(pretrained: bool = False, **kwargs: Any) -> LGIFormer:
    """Builds two fifths of the published size, same tokens and regions."""
    return _build(LGIFormer, "lgi_former_small_patch16_160", pretrained, kwargs, **LGI_SMALL)


@register_model
def lgi_former_small_patch16_112(pretrained: bool = False, **kwargs: Any) -> LGIFormer:
    """Builds the small model at 112 pixels: 7 x 7 tokens a frame, so a region is two whole token frames."""
    shape = LGI_SMALL | {"img_size": 112, "region_size": (2, 7, 7)}
    return _build(LGIFormer, "lgi_former_small_patch16_112", pretrained, kwargs, **shape)


@register_model
def lgi_former_tiny_patch8_64(pretrained: bool = False, **kwargs: Any) -> LGIFormer:
    """Builds a model for a CPU: 64 pixels, 512 tokens of 8 x 8 pixels, 8 regions of upper and lower face."""
    shape = TINY | {"img_size": 64, "region_size": (2, 4, 8)}
    return _build(LGIFormer, "lgi_former_tiny_patch8_64", pretrained, kwargs, **shape)


@register_model
def vit_joint_base_patch16_160(pretrained: bool = False, **kwargs: Any) -> JointViT:
    """Builds VideoMAE's ViT-B at 160 pixels: the baseline of the paper's tables."""
    return _build(JointViT, "vit_joint_base_patch16_160", pretrained, kwargs, **VIT_BASE)


@register_model
def vit_joint_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> JointViT:
    """Builds VideoMAE's ViT-B at 224 pixels."""
    return _build(JointViT, "vit_joint_base_patch16_224", pretrained, kwargs, **VIT_BASE | {"img_size": 224})


@register_model
def vit_joint_base_dim512_patch16_160(pretrained: bool = False, **kwargs: Any) -> JointViT:
    """Builds joint attention in LGI-Former's width and depth, to compare the attention alone."""
    return _build(JointViT, "vit_joint_base_dim512_patch16_160", pretrained, kwargs, **LGI_BASE)


@register_model
def vit_joint_tiny_patch8_64(pretrained: bool = False, **kwargs: Any) -> JointViT:
    """Builds joint attention in the shape of `lgi_former_tiny_patch8_64`."""
    return _build(JointViT, "vit_joint_tiny_patch8_64", pretrained, kwargs, **TINY | {"img_size": 64})


def architectures() -> list[str]:
    """Returns the names registered here, sorted."""
    return sorted(default_cfgs)


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
    if architecture not in default_cfgs:
        raise unknown_architecture(architecture)
    model_args = model_args or {}
    model: type[VideoEncoder] = get_type_hints(timm.model_entrypoint(architecture))["return"]
    check_arguments(model.__name__, model_args, model.Args, architecture)
    return cast(VideoEncoder, timm.create_model(architecture, **model_args))


def build_mae(
    architecture: str, model_args: Mapping[str, Any] | None = None, **decoder_args: Any
) -> MaskedAutoencoder:
    """Builds a fresh masked autoencoder: an encoder by its name, and the arguments of `MaskedAutoencoder`."""
    return MaskedAutoencoder(build_encoder(architecture, model_args), **decoder_args)
