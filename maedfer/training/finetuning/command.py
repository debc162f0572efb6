"""`maedfer finetune`: labelled shards in, a classifier with its scores on a test set out."""

from __future__ import annotations

import os

from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.finetuning.folds import concerns_folds, train_folds
from maedfer.training.run.cli import run_verb
from maedfer.training.run.recipes import with_recipes


def finetune(args: list[str]) -> int:
    """Runs `maedfer finetune`; returns the exit code."""
    return run_verb(_train, args)


def _train(args: list[str]) -> int:
    """Trains one classifier, or one on each of several folds."""
    environment = dict(os.environ)  # before Lightning adds to it: the runs of folds start from it
    cli = FinetuneCLI(with_recipes(args, FinetuneCLI.default_run))
    return train_folds(cli, args, environment) if concerns_folds(cli) else cli.run()
