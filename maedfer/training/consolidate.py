"""`maedfer consolidate`: writes the encoder or the classifier of a run that has not finished.

A run writes the configuration of its `encoder/` or `classifier/` at its start, and the weights when it has
done all its steps. Until then they are in a checkpoint, under DeepSpeed in parts of every rank; they are
merged here. The checkpoint is only read, so the run may still be training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml

from maedfer.models.config import CONFIG_NAME, read_config
from maedfer.models.strict_loading import load_strictly
from maedfer.models.weights import save_encoder
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.zero_checkpoint import whole_checkpoint
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.run.cli import RunCLI
from maedfer.training.run.screen import quieten_lightning
from maedfer.training.run.weights import read_checkpoint

TRAINING: tuple[type[RunCLI], ...] = (PretrainCLI, FinetuneCLI)
"""The verbs that train. A run is of the one whose model folder it has."""

CPU_OVERRIDES = (
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"),
    *("--trainer.precision=32-true", "--model.compile=false"),
)
"""Settings that any machine supports; nothing is trained."""


def consolidate(run: str, checkpoint: Literal["last", "best"] = "last", shards: str | None = None) -> str:
    """Writes `encoder/` (pre-training) or `classifier/` (fine-tuning) of a run from a checkpoint.

    Args:
        run: The run folder.
        checkpoint: The newest checkpoint, or the one with the best held-out value.
        shards: Where the shards of the run are now, if not where they were. They are read only for a run that
            has not written the configuration of its model, as runs before this version.

    Returns:
        Where the weights are, and how many steps they have had.

    Raises:
        FileNotFoundError: no run, no checkpoint, or no shards.
        UserError: a damaged checkpoint, or one that does not fit the settings of the run.
    """
    quieten_lightning()
    folder = RunFolder(Path(run))
    if not folder.config.is_file():
        raise FileNotFoundError(f"`run` {run} holds no run: there is no {folder.config.name}")
    path = whole_checkpoint(folder.last if checkpoint == "last" else folder.best)
    saved = read_checkpoint(path, "checkpoint")
    settings = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    started = [cli for cli in TRAINING if (folder.path / cli.model_name / CONFIG_NAME).is_file()]
    # Runs of maedfer 0.1 have no model folder until they end.
    cli = started[0] if started else FinetuneCLI if "task" in settings else PretrainCLI
    if shards is not None or not started:
        _write_config(cli, folder, shards)
    target = folder.path / cli.model_name
    config = read_config(target)
    module = cli.rebuild(settings, config)
    load_strictly(module, saved["state_dict"], str(folder.path))
    # The number of clips is right if the run has had as many ranks all along.
    batch = settings["data"]["batch_size"] * settings["trainer"]["accumulate_grad_batches"] * saved["ranks"]
    trained = {"steps": saved["global_step"], "clips_seen": saved["global_step"] * batch}
    save_encoder(module.exported(), target, replace(config, provenance={**config.provenance, **trained}))
    return f"{target}: {saved['global_step']} steps, from {path}"


def _write_config(kind: type[RunCLI], folder: RunFolder, shards: str | None) -> None:
    """Writes the configuration of a model, as its run does at its start."""
    words = ["--config", str(folder.config), "--run", str(folder.path), *CPU_OVERRIDES]
    words += [f"--data.shards={shards}"] if shards else []
    cli = kind(words)
    cli.prepare(source=None)
    cli.write_model_config()
