"""`maedfer consolidate`: writes the encoder or the classifier of a run that has not finished.

A run writes `encoder/` or `classifier/` when it has done all its steps. Until then its weights are in a
checkpoint, under DeepSpeed in parts of every rank; they are merged here and written as a finished run does.
The checkpoint is only read, so the run may still be training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml

from maedfer.models.strict_loading import load_strictly
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.zero_checkpoint import whole_checkpoint
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.run.screen import quieten_lightning
from maedfer.training.run.weights import read_checkpoint

CPU_OVERRIDES = (
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"),
    *("--trainer.precision=32-true", "--model.compile=false"),
)
"""Settings that any machine supports; nothing is trained."""


def consolidate(run: str, checkpoint: Literal["last", "best"] = "last", shards: str | None = None) -> str:
    """Writes `encoder/` (pre-training) or `classifier/` (fine-tuning) of a run from a checkpoint.

    Args:
        run: the run folder.
        checkpoint: the newest checkpoint, or the one with the best held-out value.
        shards: where the shards of the run are now, if not where they were.

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
    words = ["--config", str(folder.config), "--run", run, *CPU_OVERRIDES]
    words += [f"--data.shards={shards}"] if shards else []
    is_fine_tuned = "task" in yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    cli = (FinetuneCLI if is_fine_tuned else PretrainCLI)(words)
    cli.prepare(source=None)
    load_strictly(cli.model, saved["state_dict"], str(folder.path))
    # The number of clips is right if the run has had as many ranks all along.
    batch = cli.datamodule.batch_size * cli.config.trainer.accumulate_grad_batches * saved["ranks"]
    cli.export(saved["global_step"], clips=saved["global_step"] * batch)
    return f"{cli.model_folder}: {saved['global_step']} steps, from {path}"
