"""`maedfer evaluate`: a trained classifier on labelled shards, and what is written of any evaluation.

A folder of an evaluation holds `predictions.csv`, `scores.json`, figures, and `report.html`.
"""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from maedfer.constants import FRAME_INTERVAL_S
from maedfer.data.labelled import LabelledDataModule
from maedfer.data.parts import Part
from maedfer.data.shards import dump_json, write_atomically
from maedfer.models.weights import load_classifier
from maedfer.resources import find_shards
from maedfer.training.fine_tuning import FineTuning
from maedfer.training.predictions import Predictions, write_predictions
from maedfer.training.progress import RunProgress
from maedfer.training.report import write_score_report
from maedfer.training.run_cli import quieten_lightning
from maedfer.training.score_figures import LEARNING, draw_learning, draw_scores
from maedfer.training.scores import describe, grouped, scores
from maedfer.training.scoring import Scoring
from maedfer.training.threads import settle_threads


def evaluate(
    model: str,
    shards: str,
    out: str = "runs/evaluate",
    split: str = "test",
    views: int = 2,
    columns: list[str] | None = None,
    soft_labels: bool = False,
    skip_unlabelled: bool = False,
    batch_size: int = 16,
    workers: int | None = None,
) -> str:
    """Score a fine-tuned model on a split of labelled shards.

    Writes `predictions.csv` (a row per clip), `scores.json`, figures and `report.html`.

    Args:
        model: a fine-tuned run, an exported classifier, or a hub id.
        shards: shard folder to read; its labels must be among the classes of the model.
        out: folder of the results.
        split: split to score.
        views: clips per track, spread over it; their probabilities are averaged.
        columns: metadata columns that hold the labels, as in fine-tuning; by default those of the model.
        soft_labels: labels are the shares of votes.
        skip_unlabelled: leave samples without a label out instead of refusing them.
        batch_size: clips evaluated at a time.
        workers: loader processes; by default one for every core but one.

    Returns:
        The table of scores.

    Raises:
        FileNotFoundError: no such model or shards.
        ValueError: no such split, unknown labels, or a single class.
    """
    quieten_lightning()
    module = FineTuning.of_classifier(load_classifier(model))
    config = module.exported().config
    task, names = module.task, list(module.outputs)
    read = columns or config["provenance"].get("columns")
    data = LabelledDataModule(
        find_shards(shards),
        task=task,
        classes=names if read is None else None,
        columns=read,
        soft_labels=soft_labels,
        skip_unlabelled=skip_unlabelled,
        views=views,
        batch_size=batch_size,
        workers=workers,
        frame_interval_s=config["frame_interval_s"] or FRAME_INTERVAL_S,
        frame_crop=config["provenance"].get("frame_crop"),
    )
    part, scoring = data.test_on(split), Scoring()
    trainer = pl.Trainer(callbacks=[scoring, RunProgress()], logger=False, devices=1)
    data.settle_workers(devices=1)
    settle_threads(trainer, data.workers)
    trainer.test(module, data, verbose=False)
    title = f"{Path(model).name} on {split} of {Path(shards).name}"
    command = f"maedfer evaluate --model {model} --shards {shards} --split {split} --views {views}"
    write_evaluation(Path(out), title, command, scoring.predictions["test"], part, data.is_synthetic)
    return f"{describe(scoring.predictions['test'], data.is_synthetic)}\nreport: {Path(out) / 'report.html'}"


def write_evaluation(
    folder: Path,
    title: str,
    command: str,
    predictions: Predictions,
    part: Part,
    synthetic: bool,
    settings: str = "",
    seed: int | None = None,
) -> None:
    """Write predictions, scores, figures and the report of an evaluation.

    Args:
        folder: where they go; the curves of a run there are drawn too.
        title: heading.
        command: the command line that made them.
        predictions: what the model said.
        part: the samples it was asked about.
        synthetic: whether the faces were drawn.
        settings: the settings of a run.
        seed: the seed of a run.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", predictions, part.records)
    by = grouped(predictions, part.records)
    content = {"scores": scores(predictions), "synthetic": synthetic, "by": by}
    write_atomically(folder / "scores.json", dump_json(content, indent=1))
    said = f"{title} (synthetic faces)" if synthetic else title
    draw_scores(figures, predictions, said)
    draw_learning(figures / LEARNING, folder / "metrics.csv", folder / "validation.csv", said)
    write_score_report(folder, title, command, predictions, part.records, synthetic, seed, settings)
