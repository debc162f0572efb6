"""Saves and loads model folders (`config.json`, `model.safetensors`, a card), by path, name or hub id.

A run has `encoder/` after pre-training and `classifier/` after fine-tuning, both in the same form; the folder
alone works as well. Loading is strict.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from maedfer.errors import UserError
from maedfer.files import sha256
from maedfer.models.config import CONFIG_NAME, WEIGHTS_NAME, ModelConfig, read_config, write_config
from maedfer.models.encoder import VideoEncoder
from maedfer.models.mae import MaskedAutoencoder
from maedfer.models.official import from_official, training_checkpoint
from maedfer.models.registry import architectures, build_encoder, unknown_architecture
from maedfer.models.strict_loading import load_strictly

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
BARE_NAME = re.compile(r"[\w-]+")


def save_encoder(model: VideoEncoder, folder: str | Path, config: ModelConfig) -> Path:
    """Writes an encoder or a classifier as a folder that `load_encoder` and `load_classifier` read.

    Args:
        model: `LGIFormer` or `JointViT`.
        folder: made when missing. Each file is replaced as a whole, so that a reader never sees half of one.
        config: what is known of the model; classes, pooling and frames are taken from the model itself, and
            the checksum from the weights.

    Returns:
        The folder.

    Raises:
        UserError: an unregistered architecture, or another number of output names than of classes.
    """
    folder, config = Path(folder), completed(config, model)
    write_config(folder, config)  # without a checksum, until the weights that it belongs to are in place
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    partial = folder / f"{WEIGHTS_NAME}.part"
    save_file(tensors, partial, metadata={"format": "pt"})
    checksum = sha256(partial)
    os.replace(partial, folder / WEIGHTS_NAME)
    write_config(folder, replace(config, weights_sha256=checksum))
    return folder


def write_unfinished(model: VideoEncoder, folder: str | Path, config: ModelConfig) -> None:
    """Writes `config.json` and the card of a model whose weights are still to come.

    A folder that has weights already (of a run that was consolidated and is resumed) is not changed.

    Args:
        model: as built, trained or not.
        folder: made when missing.
        config: as for `save_encoder`.

    Raises:
        UserError: as `save_encoder`.
    """
    config = completed(config, model)
    if not (Path(folder) / WEIGHTS_NAME).exists():
        write_config(folder, config)


def completed(config: ModelConfig, model: VideoEncoder) -> ModelConfig:
    """Returns the configuration with what the model itself says: classes, pooling, norm and frames.

    Raises:
        UserError: an unregistered architecture, or another number of output names than of classes.
    """
    if config.architecture not in architectures():
        raise unknown_architecture(config.architecture)
    if config.output is not None and len(config.output.names) != model.num_classes:
        raise UserError(
            "names",
            f"{len(config.output.names)} names for the outputs of a model of {model.num_classes} classes",
        )
    return replace(
        config,
        model_args={**config.model_args, **model.head_args},
        input=replace(config.input, num_frames=model.num_frames),
        weights_sha256=None,
    )


def load_encoder(source: str | Path, **overrides: Any) -> VideoEncoder:
    """Loads an encoder from a path, a registered name (fresh weights) or a hub id, in this order.

    Args:
        source: a run folder, an export folder, an official `.pth`, a name of `architectures()`, or
            `owner/name`.
        overrides: model arguments (for an official file, those of `from_official`); `num_classes` adds a
            fresh head, `pool="attentive"` a fresh query where the weights have none.

    Returns:
        The model in evaluation mode and without a head, unless `num_classes` is given. A fine-tuned model
        keeps its `fc_norm`. `config` is what its folder says; None for fresh weights and official files.

    Raises:
        FileNotFoundError: nothing is there, or the run has not finished.
        UserError: an unknown name, a checkpoint inside a run, damaged weights, or weights of another shape.
    """
    num_classes = overrides.pop("num_classes", 0)
    if BARE_NAME.fullmatch(str(source)) and not Path(source).exists():
        if source not in architectures():
            unknown = unknown_architecture(str(source)).message
            raise UserError(None, f"{source} is not a file or folder here; the architecture {unknown}")
        return build_encoder(str(source), {**overrides, "num_classes": num_classes}).eval()
    pool = overrides.pop("pool", None)  # not before the weights are in: they fit the pooling they came with
    model = _load(source, ("encoder", "", "classifier"), overrides)
    another = None if pool == model.pool_mode else pool
    if model.num_classes or num_classes or another:
        model.reset_classifier(num_classes, another)
    return model.eval()


def load_classifier(source: str | Path, **overrides: Any) -> VideoEncoder:
    """Loads a fine-tuned model from a run or export folder, an official `.pth` or a hub id.

    Args:
        source: where the model is; not a registered name, which has no trained weights.
        overrides: as for `load_encoder`.

    Returns:
        The model in evaluation mode. `config.output.names` are the names of its outputs; `config` is None for
        an official file.

    Raises:
        FileNotFoundError: nothing is there, or the run has not finished.
        UserError: a registered name, weights without classes, damaged weights, or weights of another shape.
    """
    if str(source) in architectures() and not Path(source).exists():
        raise UserError(
            None,
            f"{source} names fresh weights, and a classifier needs trained ones: give a fine-tuned run "
            "or an export",
        )
    model = _load(source, ("classifier", "", "encoder"), overrides)
    if not model.num_classes:
        raise UserError(
            None, f"{source} holds an encoder without classes: fine-tune it first, or use load_encoder"
        )
    return model.eval()


def _load(source: str | Path, rooms: Sequence[str], overrides: Mapping[str, Any]) -> VideoEncoder:
    path = Path(source)
    if path.is_file():
        model = from_official(path, **overrides)
        return model.encoder if isinstance(model, MaskedAutoencoder) else model
    folder = _find_folder(path if path.is_dir() else _download(str(source)), rooms)
    config = read_config(folder)
    weights = folder / WEIGHTS_NAME
    if not weights.is_file():
        begun = (folder.parent / "checkpoints").is_dir()
        raise _unfinished(folder) if begun else FileNotFoundError(f"no {WEIGHTS_NAME} in {folder}")
    if config.weights_sha256 not in (None, sha256(weights)):
        raise UserError(None, f"{weights} is damaged: its SHA-256 is not the one in {CONFIG_NAME}")
    model = build_encoder(config.architecture, {**config.model_args, **overrides})
    try:
        load_strictly(model, load_file(weights), str(weights))
    except SafetensorError as error:
        raise UserError(None, f"{weights} is damaged: {error}") from error
    model.config = config
    return model


def _unfinished(folder: Path) -> FileNotFoundError:
    """Returns the error for the model folder of a run whose weights are in its checkpoints only."""
    run = folder.parent
    return FileNotFoundError(
        f"the run {run} has not finished and has no weights in {folder.name}/ yet: `maedfer consolidate "
        f"{run}` writes them from its last checkpoint, and --resume continues the run to its end"
    )


def _find_folder(path: Path, rooms: Sequence[str]) -> Path:
    for folder in (path / room for room in rooms):
        if (folder / CONFIG_NAME).is_file():
            return folder
    if path.suffix == ".ckpt":  # DeepSpeed's are folders
        raise training_checkpoint(path)
    if (path / "checkpoints").is_dir():
        raise _unfinished(path / rooms[0])
    looked = ", ".join((Path(room) / CONFIG_NAME).as_posix() for room in rooms)
    raise FileNotFoundError(f"{path} has no weights: looked for {looked} in it")


def _download(source: str) -> Path:
    nowhere = f"{source} is not a file or folder here, not a registered model"
    if not HUB_ID.fullmatch(source):
        raise FileNotFoundError(f"{nowhere} and not a hub id (owner/name)")
    try:
        return Path(
            huggingface_hub.snapshot_download(source, allow_patterns=[f"*{CONFIG_NAME}", f"*{WEIGHTS_NAME}"])
        )
    except (HfHubHTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise FileNotFoundError(f"{nowhere}, and the hub did not deliver it: {error}") from error
