"""Weights as folders (`config.json`, `model.safetensors`, a card), found by path, name or hub id.

A run folder has `encoder/` after pre-training and `classifier/` after fine-tuning, both in the same form; the
folder alone works as well. `config.json` holds exactly `CONFIG_KEYS`; loading is strict.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from maedfer.constants import FRAME_INTERVAL_S, IMAGENET_MEAN, IMAGENET_STD
from maedfer.models.card import model_card
from maedfer.models.encoder import VideoEncoder
from maedfer.models.mae import MaskedAutoencoder
from maedfer.models.official import from_official, training_checkpoint
from maedfer.models.pooling import ATTENTIVE
from maedfer.models.registry import architectures, build_encoder, unknown_architecture
from maedfer.models.strict_loading import load_strictly

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
CONFIG_KEYS = (
    "architecture",
    "model_args",
    "geometry",
    "frame_interval_s",
    "mean",
    "std",
    "labels",
    "provenance",
)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
BARE_NAME = re.compile(r"[\w-]+")


def save_encoder(
    model: VideoEncoder,
    folder: str | Path,
    *,
    architecture: str,
    model_args: Mapping[str, Any],
    geometry: Mapping[str, Any],
    provenance: Mapping[str, Any],
    labels: Sequence[str] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    frame_interval_s: float = FRAME_INTERVAL_S,
) -> Path:
    """Write an encoder or a classifier as a folder that `load_encoder` and `load_classifier` read.

    Args:
        model: `LGIFormer` or `JointViT`.
        folder: made when missing; files are replaced one by one, each complete at any time.
        architecture: registered name.
        model_args: what differs from it; classes and pooling are taken from the model.
        geometry: how faces were cropped, as in the shard index.
        provenance: what the weights were trained on and how; `{"synthetic": true}` is said on the card.
        labels: class names in order; a classifier needs one per class.
        mean: per channel, pixels in 0..1.
        std: per channel, pixels in 0..1.
        frame_interval_s: seconds between the frames of a clip.

    Returns:
        The folder.

    Raises:
        ValueError: an unregistered name, or a number of labels that is not the number of classes.
    """
    if architecture not in architectures():
        raise unknown_architecture(architecture)
    if labels is not None and len(labels) != model.num_classes:
        raise ValueError(f"{len(labels)} labels for a model of {model.num_classes} classes")
    config = {
        "architecture": architecture,
        "model_args": dict(model_args) | _state_of_head(model),
        "geometry": dict(geometry),
        "frame_interval_s": frame_interval_s,
        "mean": list(mean),
        "std": list(std),
        "labels": None if labels is None else list(labels),
        "provenance": dict(provenance),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    partial = folder / f"{WEIGHTS_NAME}.part"
    save_file(tensors, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS_NAME)
    _write_text(folder / CARD_NAME, model_card(config))
    _write_text(folder / CONFIG_NAME, json.dumps(config, indent=2) + "\n")
    return folder


def load_encoder(source: str | Path, **overrides: Any) -> VideoEncoder:
    """An encoder from a path, a registered name (fresh weights) or a hub id, in this order.

    Args:
        source: a run folder, an export folder, an official `.pth`, a name of `architectures()`, or
            `owner/name`.
        overrides: model arguments (for an official file, those of `from_official`); `num_classes` adds a
            fresh head, `pool="attentive"` a fresh query where the weights have none.

    Returns:
        In evaluation mode and without a head, unless `num_classes` is given. A fine-tuned model keeps
        its `fc_norm`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: an unknown name, a checkpoint inside a run, or weights of another shape.
    """
    num_classes = overrides.pop("num_classes", 0)
    if BARE_NAME.fullmatch(str(source)) and not Path(source).exists():
        return build_encoder(str(source), {**overrides, "num_classes": num_classes}).eval()
    pool = overrides.pop("pool", None)  # not before the weights are in: they fit the pooling they came with
    model = _load(source, ("encoder", "", "classifier"), overrides)
    another = None if pool == model.pool_mode else pool
    if model.num_classes or num_classes or another:
        model.reset_classifier(num_classes, another)
    return model.eval()


def load_classifier(source: str | Path, **overrides: Any) -> VideoEncoder:
    """A fine-tuned model, in evaluation mode, from a run or export folder, an official `.pth` or a hub id.

    Its `config["labels"]` are the class names, when known.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a name (those are fresh weights), or weights without classes or of another shape.
    """
    if str(source) in architectures() and not Path(source).exists():
        raise ValueError(
            f"{source} names fresh weights, and a classifier needs trained ones: give a fine-tuned run "
            "or an export"
        )
    model = _load(source, ("classifier", "", "encoder"), overrides)
    if not model.num_classes:
        raise ValueError(
            f"{source} holds an encoder without classes: fine-tune it first, or use load_encoder"
        )
    return model.eval()


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read and check `config.json`.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is not JSON, or its keys are not exactly `CONFIG_KEYS`.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise FileNotFoundError(f"no {CONFIG_NAME} in {folder}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or set(config) != set(CONFIG_KEYS):
        found = sorted(config) if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"{path} has the keys {found}, expected exactly {sorted(CONFIG_KEYS)}")
    return config


def _load(source: str | Path, rooms: Sequence[str], overrides: Mapping[str, Any]) -> VideoEncoder:
    path = Path(source)
    if path.is_file():
        model = from_official(path, **overrides)
        return model.encoder if isinstance(model, MaskedAutoencoder) else model
    folder = _find_folder(path if path.is_dir() else _download(str(source)), rooms)
    config = read_config(folder)
    model = build_encoder(config["architecture"], {**config["model_args"], **overrides})
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        raise FileNotFoundError(f"no {WEIGHTS_NAME} in {folder}")
    try:
        load_strictly(model, load_file(weights), str(weights))
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged: {error}") from error
    model.config = config
    return model


def _find_folder(path: Path, rooms: Sequence[str]) -> Path:
    for folder in (path / room for room in rooms):
        if (folder / CONFIG_NAME).is_file():
            return folder
    if path.suffix == ".ckpt":  # DeepSpeed's are folders
        raise training_checkpoint(path)
    if (path / "checkpoints").is_dir():
        raise FileNotFoundError(
            f"the run {path} has no {rooms[0]}/ yet: `maedfer consolidate {path}` writes it from its last "
            "checkpoint, and --resume takes the run to its end"
        )
    looked = ", ".join((Path(room) / CONFIG_NAME).as_posix() for room in rooms)
    raise FileNotFoundError(f"{path} has no weights: looked for {looked} in it")


def _download(source: str) -> Path:
    nowhere = f"{source} is no file or folder here, no registered model"
    if not HUB_ID.fullmatch(source):
        raise FileNotFoundError(f"{nowhere} and no hub id (owner/name)")
    try:
        return Path(
            huggingface_hub.snapshot_download(source, allow_patterns=[f"*{CONFIG_NAME}", f"*{WEIGHTS_NAME}"])
        )
    except (HfHubHTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise FileNotFoundError(f"{nowhere}, and the hub does not give it: {error}") from error


def _state_of_head(model: VideoEncoder) -> dict[str, Any]:
    """What `reset_classifier` may have changed since the model was built."""
    normed = isinstance(model.fc_norm, nn.LayerNorm)
    state: dict[str, Any] = {"num_classes": model.num_classes, "pool": model.pool_mode}
    # Left out where it follows from the head, so that a loaded encoder can still become a classifier.
    follows = model.num_classes > 0 and model.pool_mode != ATTENTIVE
    return state if normed == follows else state | {"fc_norm": normed}


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
