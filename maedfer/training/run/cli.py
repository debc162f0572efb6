"""What the training verbs share: a recipe and flags in, a run folder out.

LightningCLI reads the recipe: the constructors of a LightningModule, a data module and Lightning's Trainer
are its schema. This module adds what a run folder needs: where it is, whether it is continued, and what is
saved. Whatever can be refused is refused before the folder is touched.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.errors import UserError
from maedfer.files import write_atomically
from maedfer.parsing import Parser, parse
from maedfer.resources import find_config, find_shards
from maedfer.runs.folder import RunFolder
from maedfer.training.distributed.plain_checkpoint import RenamedFile
from maedfer.training.distributed.ranks import lost_rank, stop_ranks, watch_no_longer
from maedfer.training.distributed.refusals import prepare_to_compile, refuse_optimizer
from maedfer.training.distributed.threads import settle_threads
from maedfer.training.distributed.zero_checkpoint import before, repair_checkpoint
from maedfer.training.distributed.zero_strategy import refuse_other_strategy, settle_strategy
from maedfer.training.run.interruption import RunInterrupted
from maedfer.training.run.screen import say
from maedfer.training.steps.finite_steps import StepLost

INVOCATION_ONLY = ("run", "resume", "config", "folds")
"""Arguments of one invocation, which a saved configuration leaves out."""


class EventsLogger(TensorBoardLogger):
    """TensorBoard events in the run folder; the settings are in `config.yaml`, not in a second file."""

    @rank_zero_only
    def save(self) -> None:
        """Flush the events, which is all that is kept."""
        self.experiment.flush()


class RecipeParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our manners: no abbreviations, complaints raised."""

    def parse_string(self, *args: Any, **kwargs: Any) -> Namespace:
        """Parses a recipe, or the settings of a run that still has `data.draws: correct`."""
        # The text is the first argument or, by version of jsonargparse, has one of these names.
        named = {name: _without_draws(kwargs[name]) for name in ("content", "cfg_str") if name in kwargs}
        return super().parse_string(*(_without_draws(arg) for arg in args[:1]), *args[1:], **kwargs | named)


def _without_draws(text: str) -> str:
    """Removes the setting `data.draws`, which maedfer 0.1 had, from the text of a recipe.

    Raises:
        UserError: it is `official`.
    """
    draws = re.search(r"^ +draws: *(\w+) *\n", text, re.MULTILINE)
    if draws is None:
        return text
    if draws[1] != "correct":
        raise UserError(
            "draws",
            f"{draws[1]} was removed: upstream's correlated draws of loader workers are not reproduced any "
            "more (configs/README.md); delete the line, or continue with maedfer 0.1",
        )
    return text.replace(draws[0], "")


class RunCLI(LightningCLI, ABC):
    """Parses a recipe; builds the module, the data module and the trainer.

    Args:
        args: the words behind the verb, `with_recipes` already applied.
        module: class of the LightningModule.
        data: class of the data module.
    """

    verb: ClassVar[str]
    default_run: ClassVar[str]

    def __init__(self, args: list[str], module: type[pl.LightningModule], data: type[ClipDataModule]) -> None:
        self.args = args
        super().__init__(
            module,
            data,
            save_config_callback=None,
            trainer_defaults={
                "precision": "bf16-mixed",
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
            },
            seed_everything_default=0,
            parser_kwargs={"prog": f"maedfer {self.verb}"},
            parser_class=RecipeParser,
            args=args,
            run=False,
            auto_configure_optimizers=False,
        )

    @abstractmethod
    def callbacks(self) -> list[pl.Callback]:
        """What rides along with the run."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The flags of a run, and one seed for everything."""
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
            help="Steps without a finite loss, one after another, that stop a run.",
        )
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, find the shards that a recipe names, and settle the strategy."""
        self.config = parse(parser, args)
        self.under_zero = settle_strategy(self.config.trainer)
        self.folder = RunFolder(Path(self.config.run))
        self.config.data.shards = find_shards(self.config.data.shards)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer, with the callbacks and the log of a run folder, and those that the recipe adds."""
        asked = self.config_init.trainer.logger
        loggers = [asked] if isinstance(asked, Logger) else asked if isinstance(asked, list) else []
        trainer = super().instantiate_trainer(
            logger=[EventsLogger(self.folder.path, name=None, version=""), *loggers],
            default_root_dir=self.folder.path,
            callbacks=[*(self.config_init.trainer.callbacks or []), *self.callbacks()],
        )
        if not self.under_zero:
            trainer.strategy.checkpoint_io = RenamedFile()
        refuse_optimizer(self.model.optimizer_name, trainer.strategy)
        if self.model.compiles:
            prepare_to_compile(trainer)
        return trainer

    def checkpoint(self) -> Path | None:
        """The checkpoint to continue from; later ranks see a folder that the first has begun to fill.

        Raises:
            ValueError: the folder already holds a run, or something else; the checkpoint is of another
                strategy.
        """
        resume = self.config.resume
        if rank_zero_only.rank != 0:
            # In this order: the first rank may be renaming the one to the other just now.
            there = before(self.folder.last).exists() or self.folder.last.exists()
            return self.folder.last if resume and there else None
        if resume:  # after a kill in the middle of writing one
            for path in (self.folder.last, self.folder.best):
                repair_checkpoint(path)
        checkpoint = self.folder.checkpoint_to_resume(resume)
        if checkpoint is not None:
            refuse_other_strategy(checkpoint, self.trainer)
        elif resume:
            say(f"warning: --resume finds no checkpoint in {self.folder.path}: starting from step 0")
        return checkpoint

    def fit(self, checkpoint: Path | None) -> int:
        """Train from a checkpoint or from the start; 0, or the exit code of the signal that stopped it.

        Raises:
            ValueError: also where it is another rank that could not go on.
        """
        settle_threads(self.trainer, self.datamodule.workers)
        try:
            self.trainer.fit(self.model, self.datamodule, ckpt_path=checkpoint, weights_only=True)
        except RunInterrupted as stop:
            watch_no_longer()
            say(f"{stop}; continue with: maedfer {self.verb} --run {self.folder.path} --resume")
            return stop.exit_code
        except BaseException as error:
            watch_no_longer()
            stop_ranks(self.trainer)
            if isinstance(error, StepLost) and not self.trainer.is_global_zero:
                raise SystemExit(2) from error  # the first rank prints the message
            if lost_rank(error):
                again = f"maedfer {self.verb} --run {self.folder.path} --resume"
                raise ValueError(f"another rank has ended, so this one cannot go on: {again}") from error
            raise
        return 0

    def asked_length(self) -> dict[str, int | None]:
        """How long the run was asked to be, as the user said it (Lightning changes what is left open)."""
        return {name: self.config.trainer[name] for name in ("max_steps", "max_epochs")}

    def is_finished(self) -> bool:
        """Whether the run to resume has ended by itself, and no further steps or epochs are asked for now."""
        done = self.folder.finished()
        return done is not None and all(done[name] == value for name, value in self.asked_length().items())

    @rank_zero_only
    def save_config(self, settled: Mapping[str, Any] | None = None) -> None:
        """Write `config.yaml`: every setting, so that the run can be resumed or started again from it.

        The number of workers is written as it was settled: another one would deal the epoch anew.

        Args:
            settled: settings that were left open and are known now, by their dotted names.
        """
        settings = self.config.clone()
        settings.data.workers = self.datamodule.workers
        for name, value in (settled or {}).items():
            settings[name] = value
        for name in INVOCATION_ONLY:
            settings.pop(name, None)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        text = self.parser.dump(settings, skip_validation=True, skip_none=False)
        write_atomically(self.folder.config, text.encode())


def refuse_both_words(args: list[str]) -> None:
    """`--resume` continues a run, `--init-from` starts a new one.

    Raises:
        ValueError: both are given.
    """
    if "--resume=true" in args and any(word.split("=")[0] == "--init_from" for word in args):
        raise ValueError("--resume continues a run, --init-from starts a new one: give one of them")


def with_recipes(args: list[str], default_run: str) -> list[str]:
    """Replace names of shipped recipes by their files; a resumed run begins with the settings it has.

    Raises:
        ValueError: nothing says what to train on.
    """
    words = in_pairs(args)
    recipes = [i + 1 for i, word in enumerate(words[:-1]) if word in ("--config", "-c")]
    for position in recipes:
        words[position] = str(find_config(words[position]))
    if "--resume=true" not in words:
        return words
    run = named_run(words, default_run)
    own = RunFolder(Path(run)).config
    if own.is_file():
        return ["--config", str(own), *words]
    if not recipes:
        raise ValueError(f"--resume: {run} holds no run, so there is nothing to continue without --config")
    return words


def in_pairs(args: list[str]) -> list[str]:
    """The words with a recipe, a run and folds as two words each, `--run=x` as `--run x`."""
    pairs = ("--config=", "--run=", "--folds=")
    return [part for word in args for part in (word.split("=", 1) if word.startswith(pairs) else [word])]


def named_run(words: list[str], default_run: str) -> str:
    """The folder that `--run` names among such words."""
    return words[words.index("--run") + 1] if "--run" in words[:-1] else default_run
