"""`maedfer pretrain`: a recipe and flags in, a run folder with checkpoints, figures and an encoder out."""

import shlex
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.evaluation.reconstruction import describe
from maedfer.report.reconstruction_figures import draw_curves
from maedfer.report.runs import write_report
from maedfer.training.distributed.zero_strategy import whole_parameters
from maedfer.training.pretraining.callbacks import pretraining_callbacks
from maedfer.training.pretraining.export import export_encoder
from maedfer.training.pretraining.held_out import HeldOutEvaluation
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.run.cli import RunCLI, refuse_both_words, with_recipes
from maedfer.training.run.non_finite import skipped_steps
from maedfer.training.run.screen import quieten_lightning, say
from maedfer.training.run.weights import load_initial_weights, refuse_to_resume


class PretrainCLI(RunCLI):
    """The recipe of a pre-training run."""

    verb, default_run = "pretrain", "runs/pretrain"

    def __init__(self, args: list[str]) -> None:
        super().__init__(args, MaskedPretraining, ClipDataModule)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The flags of a run, and how often it draws."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--picture_every", type=int, default=500, help="Steps between pictures; 0 for none."
        )

    def callbacks(self) -> list[pl.Callback]:
        """Tables, pictures, held-out errors, the bar, and checkpoints."""
        return pretraining_callbacks(self.folder, self.config)


def pretrain(args: list[str]) -> int:
    """Run `maedfer pretrain`; returns the exit code.

    Raises:
        ValueError: settings, shards or a checkpoint that do not fit, each with the remedy.
        FileNotFoundError: a recipe, shards or weights that are not there.
    """
    quieten_lightning()
    refuse_both_words(args)
    try:
        return run_or_resume(PretrainCLI(with_recipes(args, PretrainCLI.default_run)))
    except MisconfigurationException as error:
        raise ValueError(f"--trainer: {error}") from error


def run_or_resume(cli: PretrainCLI) -> int:
    """Check everything, then train."""
    folder, module = cli.folder, cli.model
    cli.datamodule.settle_workers(cli.trainer.num_devices)
    opening = opening_line(cli)
    checkpoint = cli.checkpoint()
    if cli.is_finished():
        say(f"{folder.path} has done all its {folder.finished()['steps']} steps: nothing to resume")
        return 0
    if checkpoint is not None:
        if cli.trainer.is_global_zero:  # the others need not read it twice
            refuse_to_resume(module, checkpoint)
    elif cli.config.init_from:
        load_initial_weights(module.mae, cli.config.init_from)
    cli.save_config()
    say(opening)
    return cli.fit(checkpoint) or finish(cli)


def finish(cli: PretrainCLI) -> int:
    """After the last step: checkpoint, held-out errors, encoder, and the summary that ends a run."""
    trainer, folder = cli.trainer, cli.folder
    trainer.save_checkpoint(folder.last)
    with whole_parameters(cli.model):
        if trainer.is_global_zero:
            steps, clips = trainer.global_step, trainer.global_step * cli.model.global_batch
            export_encoder(cli.model, cli.datamodule, folder.encoder, steps, clips)
    held_out = final_errors(cli)
    if trainer.is_global_zero:
        draw_curves(folder.path, folder.figures, cli.datamodule.is_synthetic)
        done = {"steps": trainer.global_step, "skipped_steps": skipped_steps(trainer), **cli.asked_length()}
        folder.finish({**done, "synthetic": cli.datamodule.is_synthetic, "held_out": held_out})
        title = f"{cli.model.architecture} on {Path(cli.datamodule.shards).name}"
        write_report(folder, title, f"maedfer pretrain {shlex.join(cli.args)}")
    say(f"encoder: {folder.encoder}   report: {folder.report}   pictures: {folder.figures}")
    return 0


def opening_line(cli: PretrainCLI) -> str:
    """What is about to be trained, on what, and where it goes."""
    size = sum(parameter.numel() for parameter in cli.model.mae.parameters())
    samples = cli.datamodule.plan.table.samples
    kind = "synthetic face tracks" if cli.datamodule.is_synthetic else "face tracks"
    return f"{cli.model.architecture}: {size:,} parameters, {samples:,} {kind}, run {cli.folder.path}"


def final_errors(cli: PretrainCLI) -> dict[str, float | None]:
    """Held-out errors of the finished model, printed beside the baselines; empty without a held-out split."""
    evaluation = next(c for c in cli.trainer.callbacks if isinstance(c, HeldOutEvaluation))
    if cli.datamodule.has_held_out and evaluation.step != cli.trainer.global_step:
        cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    if evaluation.latest:
        say(describe(evaluation.latest, cli.datamodule.is_synthetic))
    return evaluation.latest
