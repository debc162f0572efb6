"""Runs what all training verbs share: a recipe and flags in, a run folder out.

LightningCLI reads the recipe: the constructors of a LightningModule, a data module and Lightning's Trainer
are its schema. `RunCLI.run` is the course of every run: prepare, fit, finish. A verb that trains subclasses
`RunCLI` and fills in what differs. All settings are checked before the run folder is changed.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.errors import UserError
from maedfer.files import make_folder, write_atomically
from maedfer.lightning_internals import forget_children
from maedfer.models.config import ModelConfig
from maedfer.models.weights import save_encoder, write_unfinished
from maedfer.parsing import parse
from maedfer.resources import find_shards
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.plain_checkpoint import RenamedFile
from maedfer.training.distributed.ranks import is_lost_rank, stop_ranks
from maedfer.training.distributed.refusals import check_numbers, check_optimizer, prepare_to_compile
from maedfer.training.distributed.threads import settle_threads
from maedfer.training.distributed.zero_strategy import settle_strategy, whole_parameters
from maedfer.training.run.checkpoints import checkpoint_to_resume
from maedfer.training.run.interruption import RunInterrupted
from maedfer.training.run.non_finite import skipped_steps
from maedfer.training.run.recipes import RecipeParser, check_resume_or_init, with_recipes
from maedfer.training.run.records import EventsLogger
from maedfer.training.run.screen import print_rank_zero, quieten_lightning
from maedfer.training.run.weights import check_resumable
from maedfer.training.steps.finite_steps import StepLost
from maedfer.training.steps.scheduled_module import ScheduledModule

INVOCATION_ONLY = ("run", "resume", "config", "folds")
"""Arguments of one invocation, which a saved configuration leaves out."""


class RunCLI(LightningCLI, ABC):
    """Parses the words after a verb (`with_recipes` applied), builds module, data and trainer, and trains."""

    verb: ClassVar[str]
    default_run: ClassVar[str]
    model_name: ClassVar[str]
    module_class: ClassVar[type[ScheduledModule]]
    data_class: ClassVar[type[ClipDataModule]]

    def __init__(self, args: list[str]) -> None:
        self.args = args
        super().__init__(
            self.module_class,
            self.data_class,
            save_config_callback=None,
            trainer_defaults={
                "precision": "bf16-mixed",
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
            },
            seed_everything_default=0,
            parser_kwargs={"prog": f"maedfer {self.verb}", "description": self.__doc__},
            parser_class=RecipeParser,
            args=args,
            run=False,
            auto_configure_optimizers=False,
        )

    @classmethod
    def train(cls, args: list[str]) -> int:
        """Trains as the words after the verb say; returns the exit code."""
        return cls(with_recipes(args, cls.default_run)).run()

    def run(self) -> int:
        """Starts or resumes the run and finishes it; returns the exit code, and raises as `run_verb` does."""
        self.datamodule.settle_workers(self.trainer.num_devices)
        checkpoint = checkpoint_to_resume(self.folder, self.config.resume, self.trainer)
        if self.is_finished(self.folder):
            steps = self.folder.finished()["steps"]
            print_rank_zero(f"{self.folder.path} has done all its {steps} steps: nothing to resume")
            return 0
        settled = self.prepare(None if checkpoint is not None else self.config.init_from)
        if checkpoint is not None and self.trainer.is_global_zero:  # the other ranks need not read it twice
            check_resumable(self.model, checkpoint)
        self.save_config(settled)
        self.write_model_config()
        print_rank_zero(self.opening_line())
        return self.fit(checkpoint) or self.finish()

    @abstractmethod
    def callbacks(self) -> list[pl.Callback]:
        """Returns the callbacks of the run, as `run_callbacks` builds them."""

    @abstractmethod
    def prepare(self, source: str | None) -> dict[str, Any]:
        """Makes the model ready to train.

        Args:
            source: weights to start from; None for fresh ones, also where a checkpoint follows.

        Returns:
            Settings that the recipe left open and that are known now, by their dotted names.
        """

    @abstractmethod
    def opening_line(self) -> str:
        """Returns a line about what is trained, on what, and where it goes."""

    def choose_weights(self) -> None:
        """Puts the weights into the model that the run ends with; by default its last ones."""

    @classmethod
    @abstractmethod
    def rebuild(cls, settings: Mapping[str, Any], config: ModelConfig) -> ScheduledModule:
        """Builds the module of a run again, with fresh weights and not compiled.

        Args:
            settings: contents of `config.yaml`.
            config: of its model folder.
        """

    @abstractmethod
    def model_config(self, steps: int, clips: int) -> ModelConfig:
        """Returns the `config.json` of the model folder.

        Args:
            steps: optimizer steps done.
            clips: clips trained on.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, Any]:
        """Evaluates the finished model, on all ranks; returns what `summary.json` holds of it."""

    @abstractmethod
    def report(self, summary: Mapping[str, Any], title: str, command: str) -> None:
        """Writes figures and `report.html`.

        Args:
            summary: contents of `summary.json`, which is written afterwards.
            title: heading of the page.
            command: the command line of the run.
        """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the flags of a run, and one seed for everything."""
        recipe = "A shipped recipe, such as pretrain/demo, or a YAML file; later ones override earlier ones."
        next(action for action in parser._actions if action.dest == "config").help = recipe
        parser.add_argument("--run", type=str, default=self.default_run, help="Folder of the run.")
        parser.add_argument("--resume", type=bool, default=False, help="Continue the run that --run holds.")
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="Start a new run from these weights (a run, an export, an official .pth).",
        )
        parser.add_argument("--checkpoint_every", type=int, default=500, help="Steps between checkpoints.")
        parser.add_argument(
            "--stop_after_skipped",
            type=int,
            default=10,
            help="Stop after this many steps in a row whose loss is NaN or infinite.",
        )
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, finds the shards that a recipe names, and settles the strategy."""
        self.config = parse(parser, args)
        check_numbers(self.config)
        self.under_zero = settle_strategy(self.config.trainer)
        self.folder = RunFolder(Path(self.config.run))
        self.model_folder = self.folder.path / self.model_name
        self.config.data.shards = find_shards(self.config.data.shards)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Returns the trainer, with the callbacks and loggers of the run and those of the recipe."""
        asked = self.config_init.trainer.logger
        loggers = [asked] if isinstance(asked, Logger) else asked if isinstance(asked, list) else []
        callbacks = [*(self.config_init.trainer.callbacks or []), *self.callbacks()]
        try:
            trainer = super().instantiate_trainer(
                logger=[EventsLogger(self.folder.path, name=None, version=""), *loggers],
                default_root_dir=self.folder.path,
                callbacks=callbacks,
            )
        except (ValueError, TypeError) as error:  # how Lightning reports a value of one of its own settings
            raise UserError("trainer", str(error)) from error
        if not self.under_zero:
            trainer.strategy.checkpoint_io = RenamedFile()
        check_optimizer(self.model.optimizer_name, trainer.strategy)
        if self.model.compiles:
            prepare_to_compile(trainer)
        return trainer

    def fit(self, checkpoint: Path | None) -> int:
        """Trains from a checkpoint or from the start; returns 0, or the exit code of a stop signal.

        Raises:
            UserError: also where another rank has ended.
        """
        settle_threads(self.trainer, self.datamodule.workers)
        again = f"maedfer {self.verb} --run {self.folder.path} --resume"
        try:
            self.trainer.fit(self.model, self.datamodule, ckpt_path=checkpoint, weights_only=True)
        except RunInterrupted as stop:
            forget_children()  # they exit on purpose here, with the code of a signal or after a message
            print_rank_zero(f"{stop}; continue with: {again}")
            return stop.exit_code
        except BaseException as error:
            forget_children()
            stop_ranks(self.trainer)
            if isinstance(error, StepLost) and not self.trainer.is_global_zero:
                raise SystemExit(2) from error  # the first rank prints the message
            if is_lost_rank(error):
                raise UserError(None, f"another rank has ended, so this one cannot go on: {again}") from error
            raise
        return 0

    def finish(self) -> int:
        """Saves the last checkpoint, exports and evaluates the model, and writes report and summary."""
        trainer, folder = self.trainer, self.folder
        steps = trainer.global_step
        trainer.save_checkpoint(folder.last)
        with whole_parameters(self.model, changed=True):
            self.choose_weights()
            if trainer.is_global_zero:
                config = self.model_config(steps, clips=steps * self.model.global_batch)
                save_encoder(self.model.exported(), self.model_folder, config)
        results = self.evaluate()
        if trainer.is_global_zero:
            summary = {"steps": steps, "skipped_steps": skipped_steps(trainer), **self.asked_length()}
            summary |= {"synthetic": self.datamodule.is_synthetic, **results}
            title = f"{self.model.architecture} on {Path(self.datamodule.shards).name}"
            self.report(summary, title, f"maedfer {self.verb} {shlex.join(self.args)}")
            folder.finish(summary)
        places = {self.model_name: self.model_folder, "report": folder.report, "figures": folder.figures}
        print_rank_zero("   ".join(f"{name}: {path}" for name, path in places.items()))
        return 0

    @rank_zero_only
    def write_model_config(self) -> None:
        """Writes configuration and card of the model folder, before there are weights."""
        write_unfinished(self.model.exported(), self.model_folder, self.model_config(steps=0, clips=0))

    def asked_length(self) -> dict[str, int | None]:
        """Returns how long the run was asked to be (Lightning fills in what the user left open)."""
        return {name: self.config.trainer[name] for name in ("max_steps", "max_epochs")}

    def is_finished(self, folder: RunFolder) -> bool:
        """Tests whether a run has ended by itself and no further steps or epochs are asked for now."""
        return folder.finished().items() >= self.asked_length().items()

    @rank_zero_only
    def save_config(self, settled: Mapping[str, Any]) -> None:
        """Writes `config.yaml`: every setting, so that the run can be resumed or started again from it.

        The number of workers is written as it was settled: another number would deal the epoch anew.

        Args:
            settled: settings that were left open and are known now, by their dotted names.
        """
        settings = self.config.clone()
        for name, value in {"data.workers": self.datamodule.workers, **settled}.items():
            settings[name] = value
        for name in INVOCATION_ONLY:
            settings.pop(name, None)
        make_folder(self.folder.path, "run")
        text = self.parser.dump(settings, skip_validation=True, skip_none=False)
        write_atomically(self.folder.config, text.encode())


def run_verb(train: Callable[[list[str]], int], args: list[str]) -> int:
    """Runs a training verb; returns its exit code.

    Args:
        train: `RunCLI.train` of the verb, or a function that trains several runs.
        args: the words after the verb.

    Raises:
        UserError: settings, shards, labels, weights or a checkpoint do not fit.
        FileNotFoundError: a recipe, shards or weights are missing.
    """
    quieten_lightning()
    check_resume_or_init(args)
    try:
        return train(args)
    except MisconfigurationException as error:
        raise UserError("trainer", str(error)) from error
