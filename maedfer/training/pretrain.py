"""`maedfer pretrain`: a recipe and flags in, a run folder with checkpoints, figures and an encoder out.

LightningCLI reads the recipe: the constructors of `MaskedPretraining`, `ClipDataModule` and Lightning's
Trainer are its schema. This module adds what a run folder needs: where it is, whether it is continued, and
what is saved. Whatever can be refused is refused before the folder is touched.
"""

import logging
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from maedfer.data.datamodule import ClipDataModule
from maedfer.data.shards import write_atomically
from maedfer.parsing import Parser, parse
from maedfer.resources import find_config, find_shards
from maedfer.training.callbacks import pretraining_callbacks
from maedfer.training.export import export_encoder
from maedfer.training.held_out import HeldOutEvaluation, describe
from maedfer.training.initial_weights import load_autoencoder, load_initial_weights
from maedfer.training.interruption import RunInterrupted
from maedfer.training.masked_pretraining import MaskedPretraining
from maedfer.training.pictures import draw_curves
from maedfer.training.report import write_report
from maedfer.training.run_folder import RunFolder

DEFAULT_RUN = "runs/pretrain"

INVOCATION_ONLY = ("run", "resume", "config")
"""Arguments of one invocation, which a saved configuration leaves out."""


class EventsLogger(TensorBoardLogger):
    """TensorBoard events in the run folder; the settings are in `config.yaml`, not in a second file."""

    @rank_zero_only
    def save(self) -> None:
        """Flush the events, which is all that is kept."""
        self.experiment.flush()


class RecipeParser(Parser, LightningArgumentParser):
    """LightningCLI's parser with our manners: no abbreviations, complaints raised."""


class PretrainCLI(LightningCLI):
    """Parses a recipe; builds the module, the data module and the trainer."""

    def __init__(self, args: list[str]) -> None:
        self.args = args
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
            help="Start a new run from these weights (a run, an export, an official .pth).",
        )
        parser.add_argument("--checkpoint_every", type=int, default=500, help="Steps between checkpoints.")
        parser.add_argument(
            "--picture_every", type=int, default=500, help="Steps between pictures; 0 for none."
        )
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and find the shards that a recipe names."""
        self.config = parse(parser, args)
        self.folder = RunFolder(Path(self.config.run))
        self.config.data.shards = find_shards(self.config.data.shards)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer, with the callbacks and the log of a run folder, and those that the recipe adds."""
        callbacks = pretraining_callbacks(self.folder, self.config)
        asked = self.config_init.trainer.logger
        loggers = [asked] if isinstance(asked, Logger) else asked if isinstance(asked, list) else []
        return super().instantiate_trainer(
            logger=[EventsLogger(self.folder.path, name=None, version=""), *loggers],
            default_root_dir=self.folder.path,
            callbacks=[*(self.config_init.trainer.callbacks or []), *callbacks],
        )


def pretrain(args: list[str]) -> int:
    """Run `maedfer pretrain`; returns the exit code.

    Raises:
        ValueError: settings, shards or a checkpoint that do not fit, each with the remedy.
        FileNotFoundError: a recipe, shards or weights that are not there.
    """
    quieten_lightning()
    refuse_both_words(args)
    try:
        return run_or_resume(PretrainCLI(with_recipes(args)))
    except MisconfigurationException as error:
        raise ValueError(f"--trainer: {error}") from error


def run_or_resume(cli: PretrainCLI) -> int:
    """Check everything, then train."""
    folder, module = cli.folder, cli.model
    cli.datamodule.settle_workers(cli.trainer.num_devices)
    opening = opening_line(cli)
    checkpoint = checkpoint_for(folder, cli.config.resume)
    if is_finished(cli, checkpoint):
        say(f"{folder.path} has done all its {folder.finished()['steps']} steps: nothing to resume")
        return 0
    if checkpoint is not None and checkpoint.is_file():
        # Lightning loads it again; here a misfit is refused in one line, before the run is touched.
        load_autoencoder(module.mae, str(checkpoint), f"--resume {checkpoint}")
    elif cli.config.init_from:
        load_initial_weights(module.mae, cli.config.init_from)
    save_config(cli)
    say(opening)
    try:
        cli.trainer.fit(module, cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    except RunInterrupted as stop:
        say(f"{stop}; continue with: maedfer pretrain --run {folder.path} --resume")
        return stop.exit_code
    return finish(cli)


def finish(cli: PretrainCLI) -> int:
    """After the last step: checkpoint, held-out errors, encoder, and the summary that ends a run."""
    trainer, folder = cli.trainer, cli.folder
    trainer.save_checkpoint(folder.last)
    held_out = final_errors(cli)
    export_encoder(cli.model, cli.datamodule, folder.encoder, steps=trainer.global_step)
    if trainer.is_global_zero:
        draw_curves(folder.path, folder.figures, cli.datamodule.is_synthetic)
        origin = {"synthetic": cli.datamodule.is_synthetic}
        folder.finish({"steps": trainer.global_step, **asked_length(cli), **origin, "held_out": held_out})
        title = f"{cli.model.architecture} on {Path(cli.datamodule.shards).name}"
        write_report(folder, title, f"maedfer pretrain {shlex.join(cli.args)}")
    say(f"encoder: {folder.encoder}   report: {folder.report}   pictures: {folder.figures}")
    return 0


def refuse_both_words(args: list[str]) -> None:
    """`--resume` continues a run, `--init-from` starts a new one.

    Raises:
        ValueError: both are given.
    """
    if "--resume=true" in args and any(word.split("=")[0] == "--init_from" for word in args):
        raise ValueError("--resume continues a run, --init-from starts a new one: give one of them")


def checkpoint_for(folder: RunFolder, resume: bool) -> Path | None:
    """The checkpoint to continue from; later ranks see a folder that the first has begun to fill."""
    if rank_zero_only.rank != 0:
        return folder.last if resume and folder.last.exists() else None
    checkpoint = folder.checkpoint_to_resume(resume)
    if resume and checkpoint is None:
        say(f"warning: --resume finds no checkpoint in {folder.path}: starting from step 0")
    return checkpoint


def asked_length(cli: PretrainCLI) -> dict[str, int | None]:
    """How long the run was asked to be, as the user said it (Lightning changes what is left open)."""
    return {name: cli.config.trainer[name] for name in ("max_steps", "max_epochs")}


def is_finished(cli: PretrainCLI, checkpoint: Path | None) -> bool:
    """Whether the run to resume has ended by itself, and no further steps or epochs are asked for now."""
    done = cli.folder.finished()
    if checkpoint is None or done is None:
        return False
    return all(done[name] == value for name, value in asked_length(cli).items())


@rank_zero_only
def save_config(cli: PretrainCLI) -> None:
    """Write `config.yaml`: every setting, so that the run can be resumed or started again from it.

    The number of workers is written as it was settled: another one would deal the epoch anew.
    """
    settings = cli.config.clone()
    settings.data.workers = cli.datamodule.workers
    for name in INVOCATION_ONLY:
        settings.pop(name, None)
    cli.folder.path.mkdir(parents=True, exist_ok=True)
    text = cli.parser.dump(settings, skip_validation=True, skip_none=False)
    write_atomically(cli.folder.config, text.encode())


def opening_line(cli: PretrainCLI) -> str:
    """What is about to be trained, on what, and where it goes."""
    size = sum(parameter.numel() for parameter in cli.model.mae.parameters())
    samples = cli.datamodule.plan.table.samples
    kind = "synthetic face tracks" if cli.datamodule.is_synthetic else "face tracks"
    return f"{cli.model.architecture}: {size:,} parameters, {samples:,} {kind}, run {cli.folder.path}"


def final_errors(cli: PretrainCLI) -> dict[str, float]:
    """Held-out errors of the finished model, printed beside the baselines; empty without a held-out split."""
    evaluation = next(c for c in cli.trainer.callbacks if isinstance(c, HeldOutEvaluation))
    if cli.datamodule.has_held_out and evaluation.step != cli.trainer.global_step:
        cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    if evaluation.latest:
        say(describe(evaluation.latest, cli.datamodule.is_synthetic))
    return evaluation.latest


def with_recipes(args: list[str]) -> list[str]:
    """Replace names of shipped recipes by their files; a resumed run begins with the settings it has.

    Raises:
        ValueError: nothing says what to train on.
    """
    pairs = ("--config=", "--run=")
    words = [part for word in args for part in (word.split("=", 1) if word.startswith(pairs) else [word])]
    recipes = [i + 1 for i, word in enumerate(words[:-1]) if word in ("--config", "-c")]
    for position in recipes:
        words[position] = str(find_config(words[position]))
    if "--resume=true" not in words:
        return words
    run = words[words.index("--run") + 1] if "--run" in words[:-1] else DEFAULT_RUN
    own = RunFolder(Path(run)).config
    if own.is_file():
        return ["--config", str(own), *words]
    if not recipes:
        raise ValueError(f"--resume: {run} holds no run, so there is nothing to continue without --config")
    return words


@rank_zero_only
def say(text: str) -> None:
    """One line for the user, from the first rank only."""
    print(text, flush=True)


def quieten_lightning() -> None:
    """Keep Lightning's tips and its notes on loaders, which ours answers by design, off the screen."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*held_out.*sync_dist.*",  # these are summed over ranks before they are logged
        "Total length of .* across ranks is zero.*",
        ".*does not have many workers.*",
        ".*your dataloader is not resumable.*",
        ".*Checkpoint directory .* exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", message=message)
