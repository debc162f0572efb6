"""Builds the encoder that fine-tuning starts from: fresh, or pre-trained.

Fresh weights are xavier-uniform, as in pre-training. Departure: upstream draws those of a classifier without
pre-training from a normal of 0.02, through which a narrow model passes almost no signal; training from
scratch would be an unfairly weak baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maedfer.errors import UserError
from maedfer.models.arguments import HEAD_ARGS
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.registry import build_encoder
from maedfer.models.strict_loading import load_strictly
from maedfer.models.weights import load_encoder

PUBLISHED = "lgi_former_base_patch16_160"
"""Architecture of a `.pth` file of upstream, which names none."""


@dataclass(frozen=True)
class EncoderStart:
    """An encoder to fine-tune, and how to build it again.

    Attributes:
        encoder: without a head.
        architecture: its registered name.
        model_args: arguments that differ from those of the name.
        frame_interval_s: seconds between the frames that it was trained on; None if unknown.
    """

    encoder: VideoEncoder
    architecture: str
    model_args: dict[str, Any] = field(default_factory=dict)
    frame_interval_s: float | None = None


def starting_encoder(
    architecture: str | None, model_args: Mapping[str, Any], source: str | None
) -> EncoderStart:
    """Builds an encoder without a head: a fresh one by its name, or one with the weights of `source`.

    Args:
        architecture: registered name; None takes that of the weights.
        model_args: arguments that override those of the name or of the weights.
        source: a run, an export, an official `.pth`; None for fresh weights.

    Raises:
        FileNotFoundError: `source` does not exist.
        UserError: neither a name nor weights are given, or the weights have another architecture or shape.
    """
    if source is None:
        if architecture is None:
            raise UserError("init_from", "missing: give a pre-trained run, or `architecture` to start afresh")
        encoder = build_encoder(architecture, {**model_args, "num_classes": 0})
        return EncoderStart(encoder, architecture, dict(model_args))
    if Path(source).suffix in (".pth", ".pt"):
        return _official(architecture or PUBLISHED, model_args, source)
    saved = load_encoder(source)
    saved.reset_classifier(0, "token")  # a learned pooling belongs to the head it was trained with
    if saved.config is None:
        raise UserError("init_from", f"{source} names fresh weights: give it as `architecture`")
    name = saved.config.architecture
    if architecture not in (None, name):
        raise UserError(
            "architecture",
            f"{architecture}, but `init_from` {source} holds {name}: give null for `architecture` and "
            "`model_args`",
        )
    kept = {key: value for key, value in saved.config.model_args.items() if key not in HEAD_ARGS}
    if model_args.get("positions", saved.positions) != saved.positions:
        # The shapes of the weights do not show it, and with other positions they are nearly useless.
        raise UserError(
            "model_args",
            f"positions {model_args['positions']!r}, but `init_from` {source} was trained with "
            f"{saved.positions!r}: leave them out, or give null for `model_args`",
        )
    args = {**kept, **model_args, **_norm_of(saved)}
    return EncoderStart(_filled(name, args, saved, source), name, args, saved.config.input.frame_interval_s)


def _official(architecture: str, model_args: Mapping[str, Any], source: str) -> EncoderStart:
    """Loads an upstream checkpoint into an encoder of the given name, with the stages of its weights."""
    saved = load_encoder(source, **{k: v for k, v in model_args.items() if k in ("region_size", "img_size")})
    args = {**(saved.stages if isinstance(saved, LGIFormer) else {}), **model_args, **_norm_of(saved)}
    return EncoderStart(_filled(architecture, args, saved, source), architecture, args)


def _norm_of(saved: VideoEncoder) -> dict[str, bool]:
    """Keeps the norm of a fine-tuned model behind the pooling, also when its run is resumed."""
    return {"fc_norm": True} if saved.norms_pooled else {}


def _filled(name: str, args: Mapping[str, Any], saved: VideoEncoder, source: str) -> VideoEncoder:
    """Builds an encoder and loads saved weights into it."""
    encoder = build_encoder(name, {**args, "num_classes": 0})
    load_strictly(encoder, saved.state_dict(), f"`init_from` {source}")
    return encoder
