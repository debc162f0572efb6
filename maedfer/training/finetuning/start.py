"""The classifier that fine-tuning begins with: fresh, or around a pre-trained encoder.

Both start as an encoder (xavier-uniform weights when fresh) that is then given a head. Upstream starts a
classifier without pre-training from a normal of 0.02; in a narrow model nearly nothing passes through that,
and training from scratch, the baseline beside every pre-trained number, would look worse than it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maedfer.models.arguments import HEAD_ARGS
from maedfer.models.encoder import VideoEncoder
from maedfer.models.lgi_former import LGIFormer
from maedfer.models.registry import build_encoder
from maedfer.models.strict_loading import load_strictly
from maedfer.models.weights import load_encoder

PUBLISHED = "lgi_former_base_patch16_160"
"""What a bare `.pth` of upstream is taken for."""


@dataclass(frozen=True)
class Start:
    """An encoder to fine-tune, the registered name and arguments that build it, and its frame interval.

    `frame_interval_s` is None where the weights do not say it.
    """

    encoder: VideoEncoder
    architecture: str
    model_args: dict[str, Any] = field(default_factory=dict)
    frame_interval_s: float | None = None


def starting_encoder(architecture: str | None, model_args: Mapping[str, Any], source: str | None) -> Start:
    """An encoder without a head: fresh by its name, or with the weights of `source`.

    Args:
        architecture: registered name; None takes that of the weights.
        model_args: arguments that differ from the name's or from those the weights were saved with.
        source: a run, an export, an official `.pth`, or None for fresh weights.

    Raises:
        FileNotFoundError: nothing at `source`.
        ValueError: neither a name nor weights, weights of another architecture, or of another shape.
    """
    if source is None:
        if architecture is None:
            raise ValueError("give --init-from (a pre-trained run), or --model.architecture to start afresh")
        return Start(
            build_encoder(architecture, {**model_args, "num_classes": 0}), architecture, dict(model_args)
        )
    if Path(source).suffix in (".pth", ".pt"):
        return _official(architecture or PUBLISHED, model_args, source)
    saved = load_encoder(source)
    saved.reset_classifier(0, "token")  # an attentive pooling belongs to the head it was trained with
    if saved.config is None:
        raise ValueError(f"--init-from {source} names fresh weights: give it as --model.architecture")
    name = saved.config.architecture
    if architecture not in (None, name):
        raise ValueError(
            f"--init-from {source} holds {name}, --model.architecture asks for {architecture}: give "
            "--model.architecture null --model.model_args null"
        )
    kept = {key: value for key, value in saved.config.model_args.items() if key not in HEAD_ARGS}
    if model_args.get("positions", saved.positions) != saved.positions:
        # Nothing in the weights tells them apart, and with the others they are worth little.
        raise ValueError(
            f"--init-from {source} was trained with {saved.positions} positions, --model.model_args asks for "
            f"{model_args['positions']}: leave them out, or give --model.model_args null"
        )
    args = {**kept, **model_args, **_norm_of(saved)}
    return Start(_filled(name, args, saved, source), name, args, saved.config.input.frame_interval_s)


def _official(architecture: str, model_args: Mapping[str, Any], source: str) -> Start:
    """Weights of an upstream checkpoint in an encoder of the given name, with the stages that it has."""
    saved = load_encoder(source, **{k: v for k, v in model_args.items() if k in ("region_size", "img_size")})
    args = {**(saved.stages if isinstance(saved, LGIFormer) else {}), **model_args, **_norm_of(saved)}
    return Start(_filled(architecture, args, saved, source), architecture, args)


def _norm_of(saved: VideoEncoder) -> dict[str, bool]:
    """A fine-tuned model keeps its norm behind the pooling, and has it there when its run is resumed."""
    return {"fc_norm": True} if saved.norms_pooled else {}


def _filled(name: str, args: Mapping[str, Any], saved: VideoEncoder, source: str) -> VideoEncoder:
    """A model of these arguments with saved weights."""
    encoder = build_encoder(name, {**args, "num_classes": 0})
    load_strictly(encoder, saved.state_dict(), f"--init-from {source}")
    return encoder
