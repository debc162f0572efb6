"""`maedfer reconstruct`: held-out errors of a pre-trained model beside the baselines, and a picture.

It runs the same evaluation as a training run, on the weights of a run or of an official checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.errors import UserError
from maedfer.evaluation.reconstruction import describe, held_out_columns
from maedfer.files import make_folder
from maedfer.resources import find_shards
from maedfer.runs.folder import RunFolder
from maedfer.training.pretraining.held_out import HeldOutEvaluation
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.pretraining.pictures import ReconstructionPictures
from maedfer.training.run.progress import RunProgress
from maedfer.training.run.records import StepTable
from maedfer.training.run.screen import quieten_lightning
from maedfer.training.run.weights import load_autoencoder


def reconstruct(
    model: str, shards: str, out: str, split: str = "val", clips: int = 4, batch_size: int = 16, seed: int = 0
) -> str:
    """Measures and draws the reconstruction of held-out clips.

    Args:
        model: A run folder, or an upstream pre-training checkpoint (.pth) of the published shape.
        shards: Shard folder to read.
        out: Folder for `reconstruction_*.png` and `held_out.csv`.
        split: Held-out split of the shards; its `train` split gives the position mean.
        clips: Clips to draw.
        batch_size: Clips evaluated at a time.
        seed: Seed of the masks.

    Returns:
        The table of errors.

    Raises:
        FileNotFoundError: no such run or shards.
        UserError: a fine-tuned run, or shards without such a split.
    """
    quieten_lightning()
    settings = settings_of(model)
    module = MaskedPretraining(**settings["model"])
    step = load_autoencoder(module.mae, model, "model")
    data = ClipDataModule(
        find_shards(shards),
        val_split=split,
        batch_size=batch_size,
        frame_crop=settings["data"].get("frame_crop"),
        frame_interval_s=settings["data"].get("frame_interval_s"),
        sampling=settings["data"].get("sampling", "correct"),
        seed=seed,
        workers=settings["data"].get("workers"),
    )
    if not data.has_held_out:
        raise UserError("split", f"{shards} has no split {split!r}, only {', '.join(data.index.splits)}")
    evaluation, folder = HeldOutEvaluation(None), Path(out)
    make_folder(folder)
    trainer = pl.Trainer(callbacks=[evaluation, RunProgress()], logger=False, devices=1)
    trainer.validate(module, data, verbose=False)
    ReconstructionPictures(folder, None, every=0, clips=clips).draw(trainer, module, step)
    table = StepTable(folder / "held_out.csv", held_out_columns(), step - 1)
    table.append({"step": step, **evaluation.latest})
    table.close()
    return describe(evaluation.latest, data.is_synthetic)


def settings_of(model: str) -> dict[str, Any]:
    """Returns the `model` and `data` settings of a run, or of the published recipe for an upstream `.pth`.

    Raises:
        FileNotFoundError: neither a run nor a `.pth` file.
        UserError: a fine-tuned run.
    """
    config = RunFolder(Path(model)).config
    if config.is_file():
        settings: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
        if "task" in settings:
            raise UserError("model", f"{model} is fine-tuned and has no decoder: give a pre-trained run")
        return settings
    if Path(model).suffix == ".pth" and Path(model).is_file():
        return {"model": {"decoder_positions": "official"}, "data": {}}
    raise FileNotFoundError(f"`model` {model} is neither a run folder nor a .pth file")
