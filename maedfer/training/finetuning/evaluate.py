"""`maedfer evaluate`: scores a trained classifier on labelled shards."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.errors import UserError
from maedfer.evaluation.predictions import SampleInfo
from maedfer.evaluation.published import corpus_of
from maedfer.evaluation.score_card import ScoreCard
from maedfer.models.config import InputSpec
from maedfer.models.weights import load_classifier
from maedfer.report.evaluation import EvaluationInfo, write_evaluation
from maedfer.resources import find_shards
from maedfer.training.distributed.threads import settle_threads
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.finetuning.scoring import Scoring
from maedfer.training.finetuning.trained_on import was_trained_on
from maedfer.training.run.screen import quieten_lightning

OFFICIAL_VIEWS = 2
"""Clips of a track in upstream's test. It computes each twice: both crops of a square frame are the frame."""

TRAINED_ON_THESE = (
    "warning: the model was trained on samples of these shards' split or fold; this is no test of it\n"
)


def evaluate(
    model: str,
    shards: str,
    out: str = "runs/evaluate",
    split: str | None = None,
    fold: str | int | None = None,
    official: bool = False,
    views: int = 2,
    frame_interval_s: float | None = None,
    classes: list[str] | None = None,
    columns: list[str] | None = None,
    soft_labels: bool = False,
    skip_unlabelled: bool = False,
    batch_size: int = 16,
    workers: int | None = None,
) -> str:
    """Scores a fine-tuned model on a split of labelled shards.

    Writes `predictions.csv` (a row per clip), `scores.json`, figures and `report.html`.

    Args:
        model: A fine-tuned run, an exported classifier, fine-tuned weights of upstream (`.pth`), or a hub id.
        shards: Shard folder to read; its labels must be among the classes of the model.
        out: Folder of the results.
        split: Split to score; by default `test`, or `train` where a fold is named.
        fold: Fold of the split to score; by default the whole split.
        official: Frames as upstream's test takes them, the first and the last 16 of every n-th, which gives
            its scores; by default as the model was trained.
        views: Clips per track, spread over it; their probabilities are averaged.
        frame_interval_s: Seconds between the frames of a clip; by default as the model was trained, 0.16
            where it does not say.
        classes: Names of the classes in the order of the outputs, for weights that do not name them.
        columns: Metadata columns that hold the labels, as in fine-tuning; by default those of the model.
        soft_labels: Labels are the shares of votes.
        skip_unlabelled: Leave samples without a label out instead of refusing them.
        batch_size: Clips evaluated at a time.
        workers: Loader processes; by default one for every core but one.

    Returns:
        The table of scores.

    Raises:
        FileNotFoundError: no such model or shards.
        UserError: no such split or fold, unknown labels, or a single class.
    """
    quieten_lightning()
    if official and views != OFFICIAL_VIEWS:
        raise UserError("official", f"tests {OFFICIAL_VIEWS} segments of a track: leave out `views={views}`")
    module = FineTuning.of_classifier(load_classifier(model), classes)
    config = module.exported().config
    given = config.input if config else InputSpec()
    read = columns or (list(config.output.columns or ()) if config and config.output else None) or None
    split = split or ("test" if fold is None else "train")
    data = LabelledDataModule(
        find_shards(shards),
        task=module.task.name,
        classes=list(module.outputs) if read is None else None,
        columns=read,
        soft_labels=soft_labels,
        skip_unlabelled=skip_unlabelled,
        views=views,
        batch_size=batch_size,
        workers=workers,
        frame_interval_s=given.frame_interval_s if frame_interval_s is None else frame_interval_s,
        sampling="official" if official else given.sampling,
        frame_crop=given.frame_crop,
    )
    part, scoring = data.test_on(split, fold), Scoring()
    trainer = pl.Trainer(callbacks=[scoring], logger=False, devices=1, enable_progress_bar=False)
    data.settle_workers(devices=1)
    settle_threads(trainer, data.workers or 0)
    trainer.test(module, data, verbose=False)
    seen = was_trained_on(config.provenance if config else {}, data.index, split, fold)
    flags: dict[str, Any] = {"model": model, "shards": shards, "split": split, "fold": fold}
    flags |= {"official": official, "views": views, "frame-interval-s": frame_interval_s}
    flags |= {"classes": classes, "columns": columns}
    flags |= {"soft-labels": soft_labels, "skip-unlabelled": skip_unlabelled}
    info = EvaluationInfo(
        title=title_of(model, shards, split, fold, seen),
        command=command_of(flags),
        synthetic=data.is_synthetic,
        corpus=corpus_of(data.index.made_by),
    )
    card = ScoreCard.of(scoring.predictions["test"], [SampleInfo.of(record) for record in part.records])
    write_evaluation(Path(out), info, card)
    return f"{card.as_text(data.is_synthetic)}\n{TRAINED_ON_THESE * seen}report: {Path(out) / 'report.html'}"


def title_of(model: str, shards: str, split: str, fold: str | int | None, seen: bool) -> str:
    """Returns the heading of an evaluation, which marks samples that were trained on."""
    where = split if fold is None else f"fold {fold} of {split}"
    return f"{Path(model).name} on {where} of {Path(shards).name}" + " (it was trained on these)" * seen


def command_of(flags: Mapping[str, Any]) -> str:
    """Returns the command line of an evaluation, without flags that are None or off."""
    words = ["maedfer", "evaluate"]
    for name, value in flags.items():
        if value is not None and value is not False:
            words += [f"--{name}", json.dumps(value) if isinstance(value, list | bool) else str(value)]
    return shlex.join(words)
