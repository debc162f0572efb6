"""Reads the weights of runs: `--init-from` starts a new run from them, `--resume` checks that they fit."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from maedfer.errors import UserError
from maedfer.models import LGIFormer, MaskedAutoencoder
from maedfer.models.cross_decoder import attention_of_decoder
from maedfer.models.official import from_official
from maedfer.models.strict_loading import load_strictly, refuse_misfit
from maedfer.models.weights import load_encoder
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.zero_checkpoint import ZeroCheckpoint, read_weights, whole_checkpoint
from maedfer.training.run.checkpoints import own_part
from maedfer.training.steps.optimizer import check_same_optimizer
from maedfer.training.steps.scheduled_module import ScheduledModule


def load_initial_weights(mae: MaskedAutoencoder, source: str) -> None:
    """Fills a masked autoencoder from a run, a checkpoint, an exported encoder, or an official `.pth`.

    A run or a checkpoint fills everything; an exported encoder (a path, or a name `load_encoder` knows) fills
    the encoder and leaves the decoder fresh.

    Raises:
        FileNotFoundError: there is nothing at `source`.
        UserError: a damaged file, or weights of another shape; both shapes are named.
    """
    if checkpoint_of(source) is not None or Path(source).suffix in (".pth", ".pt"):
        load_autoencoder(mae, source, "init_from")
    else:
        load_strictly(mae.encoder, load_encoder(source).state_dict(), f"`init_from` {source}")


def load_autoencoder(mae: MaskedAutoencoder, source: str, parameter: str) -> int:
    """Fills encoder and decoder from a run, a checkpoint of one, or an official `.pth`.

    Args:
        mae: changed in place.
        source: the path.
        parameter: name of the parameter that holds the path, for messages.

    Returns:
        The optimizer step of the weights, 0 where it is not known.

    Raises:
        FileNotFoundError: neither a run with a checkpoint nor a file.
        UserError: a damaged file, or weights of another shape.
    """
    path, step = checkpoint_of(source), 0
    if path is not None:
        saved = read_checkpoint(path, parameter)
        state, step = without_prefix(saved["state_dict"]), int(saved["global_step"])
    elif Path(source).is_file():
        state = official_state(mae, Path(source), parameter)
    else:
        raise FileNotFoundError(
            f"`{parameter}` {source}: no checkpoint of a run (checkpoints/last.ckpt) and no file there"
        )
    check_same_decoder(mae, state, parameter, source)
    load_strictly(mae, state, f"`{parameter}` {source}")
    return step


def without_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the state of a pre-training module under the names of its autoencoder."""
    return {name.removeprefix("mae."): value for name, value in state.items()}


def check_same_decoder(
    mae: MaskedAutoencoder, state: Mapping[str, Any], parameter: str, source: str | Path
) -> None:
    """Checks that the decoder of weights has the attention of the model's decoder.

    Raises:
        UserError: it has the other; names both and the remedy.
    """
    found = attention_of_decoder(state)
    if found not in (None, mae.decoder_attention):
        fresh = "" if parameter == "resume" else ", or give an exported encoder, which has no decoder"
        raise UserError(
            parameter,
            f"{source} has a decoder with {found} attention, the model one with {mae.decoder_attention}: "
            f"take `decoder_attention={found}`{fresh}",
        )


def checkpoint_of(source: str) -> Path | None:
    """Returns the checkpoint of a run folder or a `.ckpt` path, None for anything else."""
    path = Path(source)
    if path.suffix == ".ckpt":
        return path
    last = whole_checkpoint(RunFolder(path).last)
    return last if last.exists() else None


def check_resumable(module: ScheduledModule, checkpoint: Path) -> None:
    """Checks that a checkpoint fits before the run is touched.

    Lightning loads it later, with messages that name neither the flag nor a remedy.

    Args:
        module: resumed; a plain checkpoint is loaded into it.
        checkpoint: a file, or a folder of DeepSpeed, of which only the shapes are read.

    Raises:
        UserError: it is damaged, of another shape or of another optimizer.
    """
    source, is_zero = f"`resume` {checkpoint}", checkpoint.is_dir()
    saved: dict[str, Any] = {} if is_zero else read_checkpoint(checkpoint, "resume")
    state: dict[str, Any] = ZeroCheckpoint.of(checkpoint, "resume").shapes if is_zero else saved["state_dict"]
    if isinstance(mae := getattr(module, "mae", None), MaskedAutoencoder):
        check_same_decoder(mae, without_prefix(state), "resume", checkpoint)
    if is_zero:
        refuse_misfit(module, state, source)
        return
    check_same_optimizer(module.optimizer_name, saved["optimizer_states"], checkpoint)
    load_strictly(module, state, source)


def read_checkpoint(path: Path, parameter: str | None = None) -> dict[str, Any]:
    """Reads step, ranks, weights and optimizer of a checkpoint: a file, or a folder of DeepSpeed.

    Args:
        path: the checkpoint.
        parameter: name of the parameter that led to it, for messages.

    Raises:
        FileNotFoundError: no such file.
        UserError: it is cut short, or not a checkpoint of a run.
    """
    if not path.exists():
        raise FileNotFoundError(f"{f'`{parameter}`: ' if parameter else ''}there is no {path}")
    if path.is_dir():
        return read_weights(path, parameter)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        kept = {name: saved[name] for name in ("global_step", "state_dict", "optimizer_states")}
        return {**kept, "ranks": own_part(saved)["ranks"]}
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError) as error:
        raise UserError(parameter, f"{path} is damaged, or not a checkpoint of a run") from error


def official_state(mae: MaskedAutoencoder, path: Path, parameter: str) -> dict[str, torch.Tensor]:
    """Returns the state of an upstream pre-training checkpoint under the names of this package.

    Raises:
        UserError: it is a fine-tuned classifier.
    """
    encoder = mae.encoder
    region = encoder.region_size if isinstance(encoder, LGIFormer) else (2, 5, 10)
    loaded = from_official(path, region_size=region, img_size=encoder.img_size, num_frames=encoder.num_frames)
    if not isinstance(loaded, MaskedAutoencoder):
        raise UserError(parameter, f"{path} is a fine-tuned classifier, which has no decoder to train on")
    return loaded.state_dict()
