"""The run of `maedfer finetune`.

The best epoch is chosen on validation subjects taken from the training part, and the test set is read once,
with the weights of that epoch. `--official` does as upstream does: the test set is also the validation set,
and the last epoch counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.cli import LightningArgumentParser

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.errors import UserError
from maedfer.evaluation.predictions import SampleInfo
from maedfer.evaluation.published import corpus_of
from maedfer.evaluation.score_card import ScoreCard
from maedfer.lightning_internals import callbacks_of
from maedfer.models.config import ModelConfig, OutputSpec
from maedfer.models.strict_loading import load_strictly
from maedfer.report.evaluation import EvaluationInfo, write_evaluation
from maedfer.tasks import TaskName, task_of
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.finetuning.scoring import Scoring
from maedfer.training.finetuning.trained_on import trained_on
from maedfer.training.run.callbacks import run_callbacks
from maedfer.training.run.cli import RunCLI
from maedfer.training.run.export import input_of, provenance_of
from maedfer.training.run.recipes import in_pairs
from maedfer.training.run.screen import print_rank_zero
from maedfer.training.run.weights import read_checkpoint
from maedfer.training.steps.finite_steps import SteadyAverage

COLUMNS = ("step", "loss", "lr")
"""Columns of `metrics.csv`."""


class FinetuneCLI(RunCLI):
    """Trains a classifier or regressor on labelled shards, from an encoder or from scratch."""

    verb, default_run, model_name = "finetune", "runs/finetune", "classifier"
    module_class, data_class = FineTuning, LabelledDataModule
    model: FineTuning
    datamodule: LabelledDataModule

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the flags of a run, and those of what is learnt and how."""
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
        """Parses; `--folds`, which makes several runs, is accepted on the command line only.

        Raises:
            UserError: it stands in a recipe, is given twice, or beside `--data.fold`.
        """
        super().parse_arguments(parser, args)
        given = [word.split("=")[0] for word in in_pairs(args)]
        if self.config.folds is not None and "--folds" not in given:
            raise UserError("folds", "a recipe describes one run: give folds on the command line")
        if given.count("--folds") > 1:
            raise UserError("folds", "it is given twice: name all folds in one, as 1-5 or a,b,c")
        if "--folds" in given and "--data.fold" in given:
            raise UserError("folds", "it tests on each fold in turn, `fold` on one: give one of them")

    def callbacks(self) -> list[pl.Callback]:
        """Returns the callbacks of any run, with scores and perhaps a moving average.

        Raises:
            UserError: `ema_decay` is out of range, or ZeRO is asked for too.
        """
        decay = self.config.ema_decay
        if decay is not None and not 0 < decay < 1:
            raise UserError("ema_decay", f"{decay} must be between 0 and 1, such as 0.999")
        if decay is not None and self.under_zero:
            raise UserError("ema_decay", "needs whole weights: take `strategy=ddp`, not DeepSpeed")
        self.scoring = Scoring(self.folder.path / "validation.csv")
        run = run_callbacks(
            self.folder,
            self.config,
            columns=COLUMNS,
            evaluation=[self.scoring],
            monitor=f"val/{task_of(self.config.task).main_score}",
            mode="max",
        )
        return run if decay is None else [SteadyAverage(decay=decay), *run]

    def prepare(self, source: str | None) -> dict[str, Any]:
        """Builds the model for the labels of the shards.

        Returns:
            Architecture and frame interval, which a recipe may leave to the weights.
        """
        module, data = self.model, self.datamodule
        targets = torch.from_numpy(data.subsets.train.targets)
        start = module.build(self.config.task, data.outputs, targets, source)
        if data.frame_interval_s is None:
            data.frame_interval_s = start.frame_interval_s
        return {
            "model.architecture": module.architecture,
            "model.model_args": module.model_args,
            "data.frame_interval_s": data.interval_s,
        }

    def opening_line(self) -> str:
        """Returns the size of the model and of each part of the data, and the run folder."""
        module, data = self.model, self.datamodule
        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        parts = {name: getattr(data.subsets, name) for name in ("train", "val", "test")}
        sizes = ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part is not None)
        kind = "synthetic face tracks" if data.is_synthetic else "face tracks"
        origin = f"from {self.config.init_from}" if self.config.init_from else "from scratch"
        return (
            f"{module.architecture} {origin}: {trained:,} trained parameters, {len(module.outputs)} outputs, "
            f"{kind}: {sizes}, run {self.folder.path}"
        )

    def choose_weights(self) -> None:
        """Loads the weights of the best epoch, unless the last one counts."""
        # The average is in the model now; at the next validation it would replace the chosen weights.
        callbacks = callbacks_of(self.trainer)
        callbacks[:] = [c for c in callbacks if not isinstance(c, EMAWeightAveraging)]
        if self.datamodule.subsets.val is None or self.config.official:
            return
        best = self.folder.best
        if best.exists():
            load_strictly(self.model, read_checkpoint(best)["state_dict"], str(best))
        else:
            print_rank_zero("the run ended before its first validation: these are its last weights")

    @classmethod
    def rebuild(cls, settings: Mapping[str, Any], config: ModelConfig) -> FineTuning:
        """Builds the classifier of a run again, with fresh weights and not compiled."""
        assert config.output is not None  # as a classifier of a run has one
        given = {**settings["model"], "compile": False}
        module = FineTuning(**given, freeze_encoder=settings["freeze_encoder"])
        names = config.output.names
        module.build(config.output.task, names, targets=torch.zeros(1, len(names)), source=None)
        return module

    def model_config(self, steps: int, clips: int) -> ModelConfig:
        """Returns the configuration of the model."""
        module, data = self.model, self.datamodule
        assert module.architecture is not None  # as the module has been built
        provenance = {
            "method": "linear probe" if module.freeze_encoder else "fine-tuning",
            "training_samples": len(data.subsets.train),
            "trained_on": trained_on(data),
            **provenance_of(data, steps, clips),
        }
        columns = None if data.columns is None else tuple(data.columns)
        output = OutputSpec(module.task.name, module.outputs, columns)
        return ModelConfig(module.architecture, module.model_args, input_of(data), output, provenance)

    def evaluate(self) -> dict[str, Any]:
        """Scores the test part, which is read here for the first time, or the validation part without one."""
        data = self.datamodule
        self.card: ScoreCard | None = None
        if data.subsets.test is not None:
            self.trainer.test(self.model, data, verbose=False)
        elif data.subsets.val is not None:
            print_rank_zero(
                "no test split (--data.test_split) and no --data.fold: scoring the validation share instead"
            )
            self.trainer.validate(self.model, data, verbose=False)
        else:
            print_rank_zero("neither a test split nor a validation share: nothing to score")
            return {"scores": {}}
        name: Literal["val", "test"] = "val" if data.subsets.test is None else "test"
        samples = [SampleInfo.of(record) for record in data.subset(name).records]
        self.card = ScoreCard.of(self.scoring.predictions[name], samples)
        print_rank_zero(self.card.as_text(data.is_synthetic))
        return {"scores": self.card.scores}

    def report(self, summary: Mapping[str, Any], title: str, command: str) -> None:
        """Writes predictions, scores, figures and the page of the run."""
        data = self.datamodule
        if self.card is None:
            return
        info = EvaluationInfo(
            title=title,
            command=command,
            synthetic=data.is_synthetic,
            corpus=None if data.subsets.test is None else corpus_of(data.index.made_by),
            seed=self.config.seed_everything,
            settings=self.folder.config.read_text(encoding="utf-8"),
        )
        write_evaluation(self.folder.path, info, self.card)
