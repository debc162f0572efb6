"""Reading the weights of runs: `--init-from` starts a new run from them, `--resume` checks that they fit."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maedfer.models import LGIFormer, MaskedAutoencoder
from maedfer.models.cross_decoder import attention_of_decoder
from maedfer.models.official import from_official
from maedfer.models.strict_loading import load_strictly, refuse_misfit
from maedfer.models.weights import load_encoder
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.zero_checkpoint import ZeroCheckpoint, read_weights, whole_checkpoint
from maedfer.training.steps.optimizer import refuse_other_optimizer
from maedfer.training.steps.scheduled_module import ScheduledModule


def load_initial_weights(mae: MaskedAutoencoder, source: str) -> None:
    """Fill a masked autoencoder from a run, a checkpoint, an exported encoder, or an official `.pth`.

    A run or a checkpoint fills everything; an exported encoder (a path, or a name `load_encoder` knows) fills
    the encoder and leaves the decoder fresh.

    Raises:
        FileNotFoundError: there is nothing at `source`.
        ValueError: a damaged file, or weights of another shape; both shapes are named.
    """
    flag = f"--init-from {source}"
    if checkpoint_of(source) is not None or Path(source).suffix in (".pth", ".pt"):
        load_autoencoder(mae, source, flag)
    else:
        load_strictly(mae.encoder, load_encoder(source).state_dict(), flag)


def load_autoencoder(mae: MaskedAutoencoder, source: str, flag: str) -> int:
    """Fill encoder and decoder from a run, a checkpoint of one, or an official `.pth`.

    Args:
        mae: changed in place.
        source: the path.
        flag: how the user gave it, for messages.

    Returns:
        The optimizer step of the weights, 0 where it is not known.

    Raises:
        FileNotFoundError: neither a run with a checkpoint nor a file.
        ValueError: a damaged file, or weights of another shape.
    """
    path = checkpoint_of(source)
    if path is not None:
        saved = read_checkpoint(path, flag)
        state = {name.removeprefix("mae."): value for name, value in saved["state_dict"].items()}
        refuse_other_decoder(mae, state, flag)
        load_strictly(mae, state, flag)
        return int(saved["global_step"])
    if not Path(source).is_file():
        raise FileNotFoundError(f"{flag}: no checkpoint of a run (checkpoints/last.ckpt) and no file there")
    state = official_state(mae, Path(source), flag)
    refuse_other_decoder(mae, state, flag)
    load_strictly(mae, state, flag)
    return 0


def refuse_other_decoder(mae: MaskedAutoencoder, state: Mapping[str, Any], flag: str) -> None:
    """Refuse weights whose decoder attends in another way.

    Raises:
        ValueError: names both ways and the remedy.
    """
    found = attention_of_decoder(state)
    if found not in (None, mae.decoder_attention):
        fresh = "" if flag.startswith("--resume") else ", or give an exported encoder, without a decoder"
        raise ValueError(
            f"{flag} has a decoder with {found} attention, the model one with {mae.decoder_attention}: take "
            f"--model.decoder_attention {found}{fresh}"
        )


def checkpoint_of(source: str) -> Path | None:
    """The checkpoint that a run folder or a `.ckpt` path means, None for anything else."""
    path = Path(source)
    if path.suffix == ".ckpt":
        return path
    last = whole_checkpoint(RunFolder(path).last)
    return last if last.exists() else None


def refuse_to_resume(module: nn.Module, checkpoint: Path) -> None:
    """Find out that a checkpoint does not fit, in one line and before the run is touched.

    Lightning loads it later, and complains in its own way.

    Args:
        module: what is resumed; a plain checkpoint is loaded into it.
        checkpoint: a file, or a folder of DeepSpeed, of which only the shapes are read.

    Raises:
        ValueError: damaged, of another shape or of another optimizer.
    """
    flag = f"--resume {checkpoint}"
    is_zero = checkpoint.is_dir()
    read = ZeroCheckpoint.of(checkpoint, flag).shapes if is_zero else read_checkpoint(checkpoint, flag)
    state = read if is_zero else read["state_dict"]
    if isinstance(mae := getattr(module, "mae", None), MaskedAutoencoder):
        refuse_other_decoder(mae, {name.removeprefix("mae."): value for name, value in state.items()}, flag)
    if is_zero:
        refuse_misfit(module, state, flag)
    else:
        if isinstance(module, ScheduledModule):
            refuse_other_optimizer(module.optimizer_name, read["optimizer_states"], flag)
        load_strictly(module, state, flag)


def read_checkpoint(path: Path, flag: str) -> dict[str, Any]:
    """Step, ranks, weights and optimizer of a checkpoint of ours: a file, or a folder of DeepSpeed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: cut short, or not a checkpoint of a run.
    """
    if not path.exists():
        raise FileNotFoundError(f"{flag}: there is no {path}")
    if path.is_dir():
        return read_weights(path, flag)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        position = saved.get("ClipDataModule") or saved["LabelledDataModule"]
        ranks = position["cursor"]["legs"][-1][0]
        kept = {name: saved[name] for name in ("global_step", "state_dict", "optimizer_states")}
        return {**kept, "ranks": ranks}
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError) as error:
        raise ValueError(f"{flag}: {path} is damaged, or not a checkpoint of a run") from error


def official_state(mae: MaskedAutoencoder, path: Path, flag: str) -> dict[str, torch.Tensor]:
    """The state of an upstream pre-training checkpoint under our names."""
    encoder = mae.encoder
    region = encoder.region_size if isinstance(encoder, LGIFormer) else (2, 5, 10)
    loaded = from_official(path, region_size=region, img_size=encoder.img_size, num_frames=encoder.num_frames)
    if not isinstance(loaded, MaskedAutoencoder):
        raise ValueError(f"{flag} is a fine-tuned classifier; it has no decoder to go on with")
    return loaded.state_dict()
