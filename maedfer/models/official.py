"""Reads upstream MAE-DFER and VideoMAE checkpoints, and maps their tensor names to ours and back.

The kind of a checkpoint follows from its keys: `encoder_to_decoder.weight` means pre-training,
`lg_region_tokens` means LGI-Former (joint attention otherwise). Width, depth, patch, MLP and classes are read
from the tensors; image size, frames and region are not in them, nor are heads, which default to 64 channels
each.

Names map one to one, segment by segment, except for upstream's fused decoder head: its first half is our
`appearance_head`, its second our `motion_head`. Position tables are not stored by either side.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maedfer.errors import UserError
from maedfer.models.cross_decoder import attention_of_decoder
from maedfer.models.encoder import VideoEncoder
from maedfer.models.mae import MaskedAutoencoder
from maedfer.models.official_stages import stages_of, with_copies, without_copies
from maedfer.models.registry import build_encoder
from maedfer.models.strict_loading import load_strictly
from maedfer.models.targets import appearance_size
from maedfer.upstream import Behaviour

State = Mapping[str, Tensor]

OFFICIAL_OF_OURS = {
    "region_tokens": "lg_region_tokens",
    "intra_region_norm": "first_attn_norm0",
    "intra_region_norm_token": "first_attn_norm1",
    "intra_region_attn": "first_attn",
    "inter_region_norm": "second_attn_norm0",
    "inter_region_attn": "second_attn",
    "local_global_norm_token": "third_attn_norm0",
    "local_global_norm_region": "third_attn_norm1",
    "local_global_attn": "third_attn",
    "attn_norm": "norm1",
    "mlp_norm": "norm2",
}
OURS_OF_OFFICIAL = {official: ours for ours, official in OFFICIAL_OF_OURS.items()}
HEADS = ("appearance_head", "motion_head")
FUSED_HEAD = re.compile(r"decoder\.head\.(weight|bias)")
WRAPPERS = ("model", "module", "state_dict")
LIGHTNING_MARK = "pytorch-lightning_version"
OWN_PREFIX = "mae."
HEAD_WIDTH = 64
# The tensors that the shape of a model is read from, and their dimensions.
SHAPE_OF_ENCODER = {"patch_embed.proj.weight": 5, "blocks.0.mlp.fc1.weight": 2}
SHAPE_OF_DECODER = {"encoder_to_decoder.weight": 2, "decoder.blocks.0.mlp.fc1.weight": 2}
SHAPE_OF_HEAD = {"head.weight": 2}


def official_name(ours: str) -> str:
    """Returns upstream's name of a tensor of ours; both decoder heads are parts of `decoder.head`."""
    segments = (
        "head" if segment in HEADS else OFFICIAL_OF_OURS.get(segment, segment) for segment in ours.split(".")
    )
    return ".".join(segments)


def our_names(official: str) -> tuple[str, ...]:
    """Returns our name of an upstream tensor, or two of them for the fused decoder head."""
    fused = FUSED_HEAD.fullmatch(official)
    if fused:
        return tuple(f"decoder.{head}.{fused[1]}" for head in HEADS)
    return (".".join(OURS_OF_OFFICIAL.get(segment, segment) for segment in official.split(".")),)


def to_official(state: State) -> dict[str, Tensor]:
    """Renames a state dict of ours to upstream's names, with the two decoder heads fused.

    Saved as `torch.save({"model": to_official(model.state_dict())}, "ours.pth")`, upstream's own code can
    fine-tune from it or evaluate it, and `from_official` reads it again. Upstream groups tokens correctly
    only in regions as wide as the frame, and its decoder permutes positions (see `mae`).

    Raises:
        UserError: a cross-attention decoder, which upstream does not have.
    """
    if attention_of_decoder(state) == "cross":
        raise UserError(
            "decoder_attention", "upstream has no 'cross': only the encoder can be written for it"
        )
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        parts.setdefault(official_name(name), []).append(tensor)
    return with_copies({name: torch.cat(ts) if len(ts) > 1 else ts[0] for name, ts in parts.items()})


def to_ours(state: State, appearance: int) -> dict[str, Tensor]:
    """Renames an upstream state dict to our names, with the decoder head split after `appearance` outputs."""
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        names = our_names(name)
        ours.update(
            zip(names, tensor.tensor_split([appearance]) if len(names) > 1 else [tensor], strict=True)
        )
    return ours


def from_official(
    checkpoint: str | Path | Mapping[str, Any],
    region_size: Sequence[int] = (2, 5, 10),
    num_heads: int | None = None,
    decoder_num_heads: int | None = None,
    pool: str | None = None,
    img_size: int = 160,
    num_frames: int = 16,
    decoder_positions: Behaviour = "correct",
) -> MaskedAutoencoder | VideoEncoder:
    """Builds the model of an upstream checkpoint, with its weights.

    Args:
        checkpoint: a file, or its contents: a state dict, bare or under `model` or `module`.
        region_size: Tokens (t, h, w) of a region; not used for joint attention.
        num_heads: Attention heads of the encoder; width / 64 by default.
        decoder_num_heads: Attention heads of the decoder; width / 64 by default.
        pool: Tokens that a classifier pools; `region` by default, `token` for joint attention.
        img_size: Side of the frames in pixels.
        num_frames: Frames of a clip.
        decoder_positions: `official` reconstructs as the released weights were trained, with permuted
            positions; `correct` gives each token its own.

    Returns:
        A `MaskedAutoencoder` for a pre-training checkpoint; else an `LGIFormer` or `JointViT`, in
        evaluation mode: the classifier, or the encoder when the checkpoint has no head.

    Raises:
        FileNotFoundError: no such file.
        UserError: not such a checkpoint, or its shapes do not fit the sizes given.
    """
    source, state = read_official(checkpoint)
    encoder_state = encoder_part(state)
    architecture, model_args = describe_encoder(encoder_state, num_heads)
    model_args |= {"img_size": img_size, "num_frames": num_frames} | ({"pool": pool} if pool else {})
    if architecture.startswith("lgi_former"):
        model_args["region_size"] = region_size
        state, encoder_state = (
            without_copies(part, model_args.get("share_attention", "none")) for part in (state, encoder_state)
        )
    encoder = build_encoder(architecture, model_args)
    model: MaskedAutoencoder | VideoEncoder = encoder
    if is_pretraining(state):
        decoder_args = describe_decoder(state, decoder_num_heads)
        model = MaskedAutoencoder(encoder, decoder_positions=decoder_positions, **decoder_args)
    ours = to_ours(state if model is not encoder else encoder_state, appearance_size(encoder.patch_size))
    load_strictly(model, ours, source)
    return model.eval()


def read_official(checkpoint: str | Path | Mapping[str, Any]) -> tuple[str, dict[str, Tensor]]:
    """Returns a name for messages, and the bare state dict of a file or of nested dicts, prefixes stripped.

    Raises:
        FileNotFoundError: no such file.
        UserError: a file that cannot be read, a training checkpoint of ours, or no MAE-DFER or VideoMAE
            tensors.
    """
    source = "the state dict" if isinstance(checkpoint, Mapping) else str(checkpoint)
    content = checkpoint if isinstance(checkpoint, Mapping) else _load_file(Path(checkpoint))
    trained_here = LIGHTNING_MARK in content
    while wrapper := next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None):
        content = content[wrapper]
    state = {
        name.removeprefix("module.").removeprefix("backbone."): torch.as_tensor(tensor)
        for name, tensor in content.items()
        if isinstance(name, str) and hasattr(tensor, "shape") and hasattr(tensor, "dtype")
    }
    if trained_here or any(name.startswith(OWN_PREFIX) for name in state):
        raise training_checkpoint(source)
    _check_shapes(state, source)
    if any(name.endswith("pos_embed") for name in state):
        raise UserError(
            None, f"{source} has learned positions (pos_embed); only sine-cosine ones are supported"
        )
    return source, state


def training_checkpoint(source: str | Path) -> UserError:
    """Returns the error for a checkpoint of a run of ours where finished weights are needed."""
    return UserError(
        None,
        f"{source} is a training checkpoint of a run: give the run folder (the one that holds checkpoints/)",
    )


def is_pretraining(state: State) -> bool:
    """Returns whether an upstream state dict has a decoder."""
    return "encoder_to_decoder.weight" in state


def encoder_part(state: State) -> dict[str, Tensor]:
    """Returns the encoder's tensors of an upstream state dict, without the prefix `encoder.`."""
    prefix = "encoder."
    if not any(name.startswith(prefix) for name in state):
        return dict(state)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def describe_encoder(state: State, num_heads: int | None = None) -> tuple[str, dict[str, Any]]:
    """Returns the architecture of an upstream encoder, and the model arguments that its tensors imply.

    Raises:
        UserError: heads that cannot be guessed, or a classifier without `fc_norm`.
    """
    width, in_chans, tubelet_size, patch_size, _ = state["patch_embed.proj.weight"].shape
    classes = state["head.weight"].shape[0] if "head.weight" in state else 0
    normed = "fc_norm.weight" in state
    if classes and not normed:
        raise UserError(
            None, "a classifier without fc_norm reads its first token; only mean pooling is supported"
        )
    args = {
        "in_chans": in_chans,
        "tubelet_size": tubelet_size,
        "patch_size": patch_size,
        "embed_dim": width,
        "depth": _depth(state, "blocks."),
        "num_heads": num_heads or guess_heads(width, "num_heads"),
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "num_classes": classes,
    }
    name = "lgi_former_base_patch16_160" if "lg_region_tokens" in state else "vit_joint_base_patch16_160"
    args |= stages_of(state) if name.startswith("lgi_former") else {}
    return name, args | ({"fc_norm": True} if normed and not classes else {})


def describe_decoder(state: State, decoder_num_heads: int | None = None) -> dict[str, Any]:
    """Returns the decoder arguments of `MaskedAutoencoder` that an upstream state dict implies.

    Raises:
        UserError: heads that cannot be guessed.
    """
    width = state["encoder_to_decoder.weight"].shape[0]
    return {
        "decoder_dim": width,
        "decoder_depth": _depth(state, "decoder.blocks."),
        "decoder_num_heads": decoder_num_heads or guess_heads(width, "decoder_num_heads"),
        "decoder_mlp_ratio": state["decoder.blocks.0.mlp.fc1.weight"].shape[0] / width,
    }


def guess_heads(width: int, parameter: str) -> int:
    """Returns the number of attention heads of 64 channels each.

    Raises:
        UserError: the width is not a multiple of 64.
    """
    if width % HEAD_WIDTH:
        raise UserError(
            parameter,
            f"it must be given, as the width {width} is not a multiple of {HEAD_WIDTH} channels a head",
        )
    return width // HEAD_WIDTH


def _check_shapes(state: State, source: str) -> None:
    """Refuses a state dict that lacks a tensor from which the model's shape is read."""
    tensors = {**state, **encoder_part(state)}
    needed = SHAPE_OF_ENCODER | (SHAPE_OF_DECODER if is_pretraining(state) else {})
    needed |= SHAPE_OF_HEAD if "head.weight" in tensors else {}
    for name, ndim in needed.items():
        if name not in tensors or tensors[name].ndim != ndim:
            raise UserError(
                None, f"{source} is not an MAE-DFER or VideoMAE checkpoint: no {name} of {ndim} dimensions"
            )


def _depth(state: State, prefix: str) -> int:
    places = (name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix))
    return 1 + max(int(place) for place in places if place.isdecimal())


def _load_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file {path}")
    try:
        # Upstream stores its command line beside the weights; nothing else is unpickled.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # A damaged pickle may raise any exception, and PyTorch's own message suggests disabling the safe mode.
    except Exception as error:
        raise UserError(
            None,
            f"{path} is not a checkpoint that can be loaded safely (only tensors and plain values are)",
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(None, f"{path} holds a {type(content).__name__}, not a checkpoint dict")
    return content
