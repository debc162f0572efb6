"""`maedfer finetune`: labelled shards in, a classifier with its scores on a test set out.

The best epoch is chosen on validation subjects taken from the training part, and the test set is read once,
with the weights of that epoch. `--official` does as upstream does: the test set is also the validation set,
and the last epoch counts.
"""

import shlex
from pathlib import Path

import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from maedfer.constants import FRAME_INTERVAL_S
from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.evaluation.predictions import SampleInfo
from maedfer.evaluation.published import corpus_of
from maedfer.evaluation.score_card import ScoreCard
from maedfer.models.strict_loading import load_strictly
from maedfer.report.write_evaluation import write_evaluation
from maedfer.training.distributed.zero_strategy import whole_parameters
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.finetuning.export import export_classifier
from maedfer.training.finetuning.folds import concerns_folds, train_folds
from maedfer.training.finetuning.scoring import Scoring
from maedfer.training.run.cli import refuse_both_words, with_recipes
from maedfer.training.run.non_finite import skipped_steps
from maedfer.training.run.screen import quieten_lightning, say
from maedfer.training.run.weights import read_checkpoint, refuse_to_resume


def finetune(args: list[str]) -> int:
    """Run `maedfer finetune`; returns the exit code.

    Raises:
        ValueError: settings, shards, labels or a checkpoint that do not fit, each with the remedy.
        FileNotFoundError: a recipe, shards or weights that are not there.
    """
    quieten_lightning()
    refuse_both_words(args)
    try:
        if concerns_folds(args):
            return train_folds(args)
        return run_or_resume(FinetuneCLI(with_recipes(args, FinetuneCLI.default_run)))
    except MisconfigurationException as error:
        raise ValueError(f"--trainer: {error}") from error


def run_or_resume(cli: FinetuneCLI) -> int:
    """Check everything, then train."""
    folder, data = cli.folder, cli.datamodule
    data.settle_workers(cli.trainer.num_devices)
    checkpoint = cli.checkpoint()
    if cli.is_finished():
        say(f"{folder.path} has done all its {folder.finished()['steps']} steps: nothing to resume")
        return 0
    build(cli, checkpoint)
    say(opening_line(cli))
    return cli.fit(checkpoint) or finish(cli)


def build(cli: FinetuneCLI, checkpoint: Path | None) -> None:
    """Make the model for the labels there are, and note in `config.yaml` what was settled by it.

    Raises:
        ValueError: a checkpoint for other outputs, or of another shape.
    """
    module, data = cli.model, cli.datamodule
    source = None if checkpoint is not None else cli.config.init_from
    targets = torch.from_numpy(data.subsets.train.targets)
    start = module.build(cli.config.task, data.outputs, targets, source)
    if data.frame_interval_s is None:
        data.frame_interval_s = start.frame_interval_s or FRAME_INTERVAL_S
    if checkpoint is not None and cli.trainer.is_global_zero:
        refuse_to_resume(module, checkpoint)
    cli.save_config(
        {
            "model.architecture": module.architecture,
            "model.model_args": module.model_args,
            "data.frame_interval_s": data.frame_interval_s,
        }
    )


def finish(cli: FinetuneCLI) -> int:
    """After the last step: the chosen epoch's scores, the classifier, and the page that ends a run."""
    trainer, folder, data = cli.trainer, cli.folder, cli.datamodule
    steps = trainer.global_step
    trainer.save_checkpoint(folder.last)
    # The average is in the model now; at the next validation it would take the place of the chosen weights.
    trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, EMAWeightAveraging)]
    with whole_parameters(cli.model, changed=True):
        if data.subsets.val is not None and not cli.config.official:
            take_best(cli)
        if trainer.is_global_zero:
            export_classifier(cli.model, data, folder.classifier, steps, steps * cli.model.global_batch)
    card = final_scores(cli)
    if trainer.is_global_zero:
        if card is not None:
            write_evaluation(
                folder.path,
                title=f"{cli.model.architecture} on {Path(data.shards).name}",
                command=f"maedfer finetune {shlex.join(cli.args)}",
                card=card,
                records=samples_of(data),
                synthetic=data.is_synthetic,
                settings=folder.config.read_text(encoding="utf-8"),
                seed=cli.config.seed_everything,
                corpus=None if data.subsets.test is None else corpus_of(data.index.made_by),
            )
        folder.finish(
            {
                "steps": steps,
                "skipped_steps": skipped_steps(trainer),
                **cli.asked_length(),
                "synthetic": data.is_synthetic,
                "scores": {} if card is None else card.scores,
            }
        )
    say(f"classifier: {folder.classifier}   report: {folder.report}")
    return 0


def take_best(cli: FinetuneCLI) -> None:
    """Take the weights of the best epoch."""
    best = cli.folder.best
    if best.exists():
        load_strictly(cli.model, read_checkpoint(best, str(best))["state_dict"], str(best))
    else:
        say("the run ended before its first validation: these are its last weights")


def samples_of(data: LabelledDataModule) -> list[SampleInfo]:
    """Returns facts about the samples of the test part or, without one, of the validation part."""
    part = data.subset("val" if data.subsets.test is None else "test")
    return [SampleInfo.of(record) for record in part.records]


def final_scores(cli: FinetuneCLI) -> ScoreCard | None:
    """Scores the test part, which is read here for the first time, or the validation part without one."""
    trainer, data = cli.trainer, cli.datamodule
    scoring = next(callback for callback in trainer.callbacks if isinstance(callback, Scoring))
    if data.subsets.test is not None:
        trainer.test(cli.model, data, verbose=False)
    elif data.subsets.val is not None:
        say("no test split (--data.test_split) and no --data.fold: these are scores on the validation share")
        trainer.validate(cli.model, data, verbose=False)
    else:
        say("neither a test split nor a validation share: nothing to score")
        return None
    predictions = scoring.predictions["val" if data.subsets.test is None else "test"]
    card = ScoreCard.of(predictions, samples_of(data))
    say(card.as_text(data.is_synthetic))
    return card


def opening_line(cli: FinetuneCLI) -> str:
    """What is about to be trained, on what, and where it goes."""
    module, data = cli.model, cli.datamodule
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    parts = {name: getattr(data.subsets, name) for name in ("train", "val", "test")}
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part is not None)
    kind = "synthetic face tracks" if data.is_synthetic else "face tracks"
    origin = f"from {cli.config.init_from}" if cli.config.init_from else "from scratch"
    return (
        f"{module.architecture} {origin}: {trained:,} trained parameters, {len(module.outputs)} outputs, "
        f"{kind}: {sizes}, run {cli.folder.path}"
    )
