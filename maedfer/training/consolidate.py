"""`maedfer consolidate`: the encoder or the classifier of a run that did not get to its end.

A run writes `encoder/` or `classifier/` when it has done all its steps. Until then its weights lie in a
checkpoint, under DeepSpeed in parts of every rank; here they are merged and written as a finished run's are.
The checkpoint is only read, so the run may be going on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from maedfer.models.strict_loading import load_strictly
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.zero_checkpoint import whole_checkpoint
from maedfer.training.finetuning.command import FinetuneCLI
from maedfer.training.finetuning.export import export_classifier
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.pretraining.export import export_encoder
from maedfer.training.run.cli import RunCLI
from maedfer.training.run.screen import quieten_lightning
from maedfer.training.run.weights import read_checkpoint

HERE = (
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"),
    *("--trainer.precision=32-true", "--model.compile=false"),
)
"""Settings that any machine can meet; nothing is trained."""


def consolidate(run: str, checkpoint: Literal["last", "best"] = "last", shards: str | None = None) -> str:
    """Write `encoder/` (pre-training) or `classifier/` (fine-tuning) of a run from a checkpoint.

    Args:
        run: the run folder.
        checkpoint: the newest checkpoint, or the one with the best held-out value.
        shards: where the shards of the run are now, if not where they were.

    Returns:
        Where the weights are, and how many steps they have had.

    Raises:
        FileNotFoundError: no run, no checkpoint, or no shards.
        ValueError: a damaged checkpoint, or one that does not fit the settings of the run.
    """
    quieten_lightning()
    folder = RunFolder(Path(run))
    if not folder.config.is_file():
        raise FileNotFoundError(f"{run} holds no run: there is no {folder.config.name}")
    path = whole_checkpoint(folder.last if checkpoint == "last" else folder.best)
    saved = read_checkpoint(path, f"--checkpoint {checkpoint}")
    words = ["--config", str(folder.config), "--run", run, *HERE]
    words += [f"--data.shards={shards}"] if shards else []
    fine_tuned = "task" in yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    target = (_write_classifier if fine_tuned else _write_encoder)(words, folder, saved)
    return f"{target}: {saved['global_step']} steps, from {path}"


def _write_encoder(words: list[str], folder: RunFolder, saved: dict[str, Any]) -> Path:
    """Write `encoder/` of a pre-training run; returns where it is."""
    cli = PretrainCLI(words)
    load_strictly(cli.model, saved["state_dict"], str(folder.path))
    export_encoder(cli.model, cli.datamodule, folder.encoder, saved["global_step"], _clips(cli, saved))
    return folder.encoder


def _write_classifier(words: list[str], folder: RunFolder, saved: dict[str, Any]) -> Path:
    """Write `classifier/` of a fine-tuning run; returns where it is."""
    cli = FinetuneCLI(words)
    targets = torch.from_numpy(cli.datamodule.subsets.train.targets)
    cli.model.build(cli.config.task, cli.datamodule.outputs, targets, None)
    load_strictly(cli.model, saved["state_dict"], str(folder.path))
    export_classifier(cli.model, cli.datamodule, folder.classifier, saved["global_step"], _clips(cli, saved))
    return folder.classifier


def _clips(cli: RunCLI, saved: dict[str, Any]) -> int:
    """Clips trained on, if the run has had as many ranks all along."""
    step = cli.datamodule.batch_size * cli.config.trainer.accumulate_grad_batches * saved["ranks"]
    return saved["global_step"] * step
