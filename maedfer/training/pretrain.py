"""`maedfer pretrain`: a recipe and flags in, a run folder with checkpoints, figures and an encoder out.

LightningCLI reads the recipe: the constructors of `MaskedPretraining`, `ClipDataModule` and Lightning's
Trainer are its schema. This module adds what a run folder needs: where it is, whether it is continued, and
what is saved.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.cli import Parser, parse
from maedfer.data.datamodule import ClipDataModule
from maedfer.data.shards import write_atomically
from maedfer.resources import find_config, find_shards
from maedfer.training.callbacks import pretraining_callbacks
from maedfer.training.export import export_encoder
from maedfer.training.held_out import HeldOutEvaluation, describe
from maedfer.training.initial_weights import load_initial_weights
from maedfer.training.interruption import RunInterrupted
from maedfer.training.masked_pretraining import MaskedPretraining
from maedfer.training.pictures import draw_curves
from maedfer.training.run_folder import RunFolder

DEFAULT_RUN = "runs/pretrain"

RUN_ONLY = ("run", "resume", "init_from", "config")
"""Arguments of one invocation, which a saved configuration leaves out."""


class EventsLogger(TensorBoardLogger):
    """TensorBoard events in the run folder; the settings are in `config.yaml`, not in a second file."""

    @rank_zero_only
    def save(self) -> None:
        """Flush the events, which is all that is kept."""
        self.experiment.flush()


class RecipeParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our manners: no abbreviations, complaints raised, recipes found by name."""


class PretrainCLI(LightningCLI):
    """Parses a recipe; builds the module, the data module and the trainer."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(
            MaskedPretraining,
            ClipDataModule,
            save_config_callback=None,
            trainer_defaults={
                "precision": "bf16-mixed",
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
            },
            seed_everything_default=0,
            parser_kwargs={"prog": "maedfer pretrain"},
            parser_class=RecipeParser,
            args=args,
            run=False,
            auto_configure_optimizers=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The flags of a run, and one seed for everything."""
        parser.add_argument("--run", type=str, default=DEFAULT_RUN, help="Folder of the run.")
        parser.add_argument("--resume", type=bool, default=False, help="Continue the run that --run holds.")
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="Start a new run from these weights (run, export, .pth).",
        )
        parser.add_argument("--checkpoint_every", type=int, default=500, help="Steps between checkpoints.")
        parser.add_argument(
            "--picture_every", type=int, default=500, help="Steps between pictures; 0 for none."
        )
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, check what can be checked at once, and find the shards that a recipe names."""
        self.config = parse(parser, args)
        self.folder = RunFolder(Path(self.config.run))
        if self.config.resume and self.config.init_from:
            raise ValueError("--resume continues a run, --init-from starts a new one: give one of them")
        self.config.data.shards = find_shards(self.config.data.shards)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer, with the callbacks and the log of a run folder."""
        callbacks = pretraining_callbacks(self.folder, self.config)
        logger = EventsLogger(self.folder.path, name=None, version="")
        return super().instantiate_trainer(
            logger=logger,
            default_root_dir=self.folder.path,
            callbacks=[*(self.config_init.trainer.callbacks or []), *callbacks],
        )


def pretrain(args: list[str]) -> int:
    """Run `maedfer pretrain`; returns the exit code."""
    quieten_lightning()
    cli = PretrainCLI(with_recipes(args))
    folder, module = cli.folder, cli.model
    checkpoint = checkpoint_for(folder, cli.config.resume)
    if is_finished(folder, cli.trainer, checkpoint):
        say(f"{folder.path} has done all its {folder.finished()['steps']} steps: nothing to resume")
        return 0
    if cli.config.init_from:
        load_initial_weights(module.mae, cli.config.init_from)
    opening = opening_line(cli)
    save_config(folder, cli)
    say(opening)
    try:
        cli.trainer.fit(module, cli.datamodule, ckpt_path=checkpoint, weights_only=False)
    except RunInterrupted as stop:
        say(f"{stop}; continue with: maedfer pretrain --run {folder.path} --resume")
        return stop.exit_code
    return finish(cli)


def finish(cli: PretrainCLI) -> int:
    """After the last step: the last checkpoint, held-out errors, the encoder, and the summary that ends a
    run.
    """
    trainer, folder = cli.trainer, cli.folder
    trainer.save_checkpoint(folder.last)
    held_out = final_errors(cli)
    draw_curves(folder.path, folder.figures)
    export_encoder(cli.model, cli.datamodule, folder.encoder, steps=trainer.global_step)
    if trainer.is_global_zero:
        limits = {"max_steps": trainer.max_steps, "max_epochs": trainer.max_epochs}
        folder.finish({"steps": trainer.global_step, **limits, "held_out": held_out})
    say(f"encoder: {folder.encoder}   pictures: {folder.figures}   metrics: {folder.path / 'metrics.csv'}")
    return 0


def checkpoint_for(folder: RunFolder, resume: bool) -> Path | None:
    """The checkpoint to continue from; ranks other than the first see a folder that the first has begun to
    fill.
    """
    if rank_zero_only.rank != 0:
        return folder.last if resume and folder.last.exists() else None
    checkpoint = folder.checkpoint_to_resume(resume)
    if resume and checkpoint is None:
        say(f"warning: --resume finds no checkpoint in {folder.path}: starting from step 0")
    return checkpoint


def is_finished(folder: RunFolder, trainer: pl.Trainer, checkpoint: Path | None) -> bool:
    """Whether the run to resume has ended by itself, and no further steps or epochs are asked for now."""
    done = folder.finished()
    asked = {"max_steps": trainer.max_steps, "max_epochs": trainer.max_epochs}
    return checkpoint is not None and done is not None and all(done[k] == v for k, v in asked.items())


@rank_zero_only
def save_config(folder: RunFolder, cli: PretrainCLI) -> None:
    """Write `config.yaml`: every setting, so that the run can be resumed or started again from it."""
    settings = cli.config.clone()
    for name in RUN_ONLY:
        settings.pop(name, None)
    folder.path.mkdir(parents=True, exist_ok=True)
    text = cli.parser.dump(settings, skip_validation=True, skip_none=False)
    write_atomically(folder.config, text.encode())


def opening_line(cli: PretrainCLI) -> str:
    """What is about to be trained, on what, and where it goes."""
    size = sum(parameter.numel() for parameter in cli.model.mae.parameters())
    samples = cli.datamodule.plan.table.samples
    return f"{cli.model.architecture}: {size:,} parameters, {samples:,} face tracks, run {cli.folder.path}"


def final_errors(cli: PretrainCLI) -> dict[str, float]:
    """Held-out errors of the finished model, printed beside the baselines; empty without a held-out split."""
    evaluation = next(c for c in cli.trainer.callbacks if isinstance(c, HeldOutEvaluation))
    if cli.datamodule.has_held_out and evaluation.step != cli.trainer.global_step:
        cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    if evaluation.latest:
        say(describe(evaluation.latest))
    return evaluation.latest


def with_recipes(args: list[str]) -> list[str]:
    """Replace names of shipped recipes by their files; a resumed run has a recipe of its own."""
    pairs = ("--config=", "--run=")
    words = [part for word in args for part in (word.split("=", 1) if word.startswith(pairs) else [word])]
    recipes = [i + 1 for i, word in enumerate(words[:-1]) if word in ("--config", "-c")]
    for position in recipes:
        words[position] = str(find_config(words[position]))
    if recipes or "--resume=true" not in words:
        return words
    run = words[words.index("--run") + 1] if "--run" in words[:-1] else DEFAULT_RUN
    if not RunFolder(Path(run)).config.is_file():
        raise ValueError(f"--resume: {run} holds no run, so there is nothing to continue without --config")
    return ["--config", str(RunFolder(Path(run)).config), *words]


@rank_zero_only
def say(text: str) -> None:
    """One line for the user, from the first rank only."""
    print(text, flush=True)


def quieten_lightning() -> None:
    """Keep Lightning's tips and its notes on loaders, which ours answers by design, off the screen."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # Held-out errors are summed over ranks before they are logged.
    warnings.filterwarnings("ignore", message=".*held_out.*sync_dist.*")
    warnings.filterwarnings("ignore", message="Total length of .* across ranks is zero.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
