"""`maedfer pretrain`: a recipe and flags in, a run folder with checkpoints, figures and an encoder out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.evaluation.reconstruction import describe
from maedfer.models.config import ModelConfig
from maedfer.report.reconstruction_figures import draw_curves
from maedfer.report.runs import write_report
from maedfer.training.pretraining.held_out import HeldOutEvaluation
from maedfer.training.pretraining.module import MaskedPretraining
from maedfer.training.pretraining.pictures import ReconstructionPictures
from maedfer.training.run.callbacks import run_callbacks
from maedfer.training.run.cli import RunCLI, run_verb
from maedfer.training.run.export import input_of, provenance_of
from maedfer.training.run.screen import print_rank_zero
from maedfer.training.run.weights import load_initial_weights

COLUMNS = ("step", "loss", "loss_appearance", "loss_motion", "lr")
"""Columns of `metrics.csv`."""


def pretrain(args: list[str]) -> int:
    """Runs `maedfer pretrain`; returns the exit code."""
    return run_verb(PretrainCLI.train, args)


class PretrainCLI(RunCLI):
    """Pretrains an encoder on face clips by masked reconstruction of appearance and motion."""

    verb, default_run, model_name = "pretrain", "runs/pretrain", "encoder"
    module_class, data_class = MaskedPretraining, ClipDataModule
    model: MaskedPretraining

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the flags of a run, and the interval between pictures."""
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--picture_every", type=int, default=500, help="Steps between pictures; 0 for none."
        )

    def callbacks(self) -> list[pl.Callback]:
        """Returns the callbacks of any run, with held-out errors and pictures."""
        self.held_out = HeldOutEvaluation(self.folder.path / "held_out.csv")
        pictures = ReconstructionPictures(self.folder.figures, self.folder.path, self.config.picture_every)
        return run_callbacks(
            self.folder,
            self.config,
            columns=COLUMNS,
            evaluation=[self.held_out, pictures],
            monitor="held_out/total_model",
            mode="min",
        )

    def prepare(self, source: str | None) -> dict[str, Any]:
        """Loads the weights to start from, if there are any."""
        if source is not None:
            load_initial_weights(self.model.mae, source)
        return {}

    def opening_line(self) -> str:
        """Returns the size of the model and of the data, and the run folder."""
        size = sum(parameter.numel() for parameter in self.model.mae.parameters())
        samples = self.datamodule.plan.table.samples
        kind = "synthetic face tracks" if self.datamodule.is_synthetic else "face tracks"
        return f"{self.model.architecture}: {size:,} parameters, {samples:,} {kind}, run {self.folder.path}"

    @classmethod
    def rebuild(cls, settings: Mapping[str, Any], config: ModelConfig) -> MaskedPretraining:
        """Builds the autoencoder of a run again, with fresh weights and not compiled."""
        return MaskedPretraining(**{**settings["model"], "compile": False})

    def model_config(self, steps: int, clips: int) -> ModelConfig:
        """Returns the configuration of the encoder."""
        module = self.model
        provenance = {
            "method": "masked pre-training of appearance and motion (MAE-DFER)",
            **{f"mask_{name}": value for name, value in asdict(module.masks).items()},
            "motion_group": module.mae.motion_group,
            **provenance_of(self.datamodule, steps, clips),
        }
        inputs = input_of(self.datamodule)
        return ModelConfig(module.architecture, module.model_args, inputs, provenance=provenance)

    def evaluate(self) -> dict[str, Any]:
        """Measures the held-out errors and prints them beside the baselines; empty without held-out clips."""
        if self.datamodule.has_held_out and self.held_out.step != self.trainer.global_step:
            self.trainer.validate(self.model, self.datamodule, verbose=False)
        if self.held_out.latest:
            print_rank_zero(describe(self.held_out.latest, self.datamodule.is_synthetic))
        return {"held_out": self.held_out.latest}

    def report(self, summary: Mapping[str, Any], title: str, command: str) -> None:
        """Draws the loss curves and writes the page of the run."""
        draw_curves(self.folder.path, self.folder.figures, self.datamodule.is_synthetic)
        write_report(self.folder, title, command, summary)
