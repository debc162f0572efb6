"""The flags and callbacks of `maedfer finetune`."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.tasks import TaskName
from maedfer.training.finetuning.callbacks import fine_tuning_callbacks
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.run.cli import RunCLI
from maedfer.training.steps.finite_steps import SteadyAverage


class FinetuneCLI(RunCLI):
    """The recipe of a fine-tuning run."""

    verb, default_run = "finetune", "runs/finetune"

    def __init__(self, args: list[str]) -> None:
        super().__init__(args, FineTuning, LabelledDataModule)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The flags of a run, what is learnt, and how."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--task", type=TaskName, default="classify", help="What the labels are.")
        parser.add_argument(
            "--freeze_encoder", type=bool, default=False, help="Train the head only: a probe of the encoder."
        )
        parser.add_argument(
            "--official",
            type=bool,
            default=False,
            help="As upstream: validate on the test part, train on all the rest; the last epoch counts. "
            "`--config official/finetune` has the other points too.",
        )
        parser.add_argument(
            "--ema_decay", type=float | None, default=None, help="Evaluate a moving average of the weights."
        )
        parser.add_argument(
            "--folds",
            type=str | None,
            default=None,
            help="Test on each of these folds of the training split, in a run of its own: 1-5, or names with "
            "commas between them.",
        )
        for flag, target in (("task", "data"), ("official", "data"), ("freeze_encoder", "model")):
            parser.link_arguments(flag, f"{target}.{flag}")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; `--folds`, which makes several runs, has been taken from the command line before.

        Raises:
            ValueError: it stands in a recipe.
        """
        super().parse_arguments(parser, args)
        if self.config.folds is not None:
            raise ValueError("a recipe is that of one run: give --folds on the command line")

    def callbacks(self) -> list[pl.Callback]:
        """Tables, scores, the bar, and checkpoints."""
        decay = self.config.ema_decay
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"--ema-decay {decay} must be between 0 and 1, such as 0.999")
        if decay is not None and self.under_zero:
            raise ValueError("--ema-decay needs whole weights: take --trainer.strategy ddp, not DeepSpeed")
        average = [] if decay is None else [SteadyAverage(decay=decay)]
        return [*average, *fine_tuning_callbacks(self.folder, self.config)]
