"""All runs that a question takes, each in a folder of its own that is done once.

A `Pretraining` is `maedfer pretrain`, a `Use` is `maedfer finetune` with few labels, of a pre-trained encoder
or a fresh one. Names and flags of uses are those of the table of `maedfer demo`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import get_loader

from maedfer.demo.table import LABELS_PER_CLASS, PROBE, ROWS, slug
from maedfer.resources import find_config
from studies.faces import REAL, Faces
from studies.variants import CLIPS_PER_STEP, VARIANTS, batch_of

TUNED, PROBED = "fine-tuned, pretrained", "attentive probe, pretrained"
LINEAR = "linear probe, pretrained"
SCRATCH, RANDOM = "fine-tuned from scratch", "attentive probe, random features"
USES = (TUNED, PROBED)
BASELINES = (SCRATCH, RANDOM)

TRAINING_STEPS, PROBE_STEPS = 350, 150
"""Steps on labels, as in the demo; with more labels more of them, up to twice as many."""

QUIET = ("--trainer.enable_progress_bar", "false", "--data.workers", "0")

PRETRAIN, FINETUNE = "pretrain/demo", "finetune/demo"
"""The recipes."""

TRACKS: Mapping[str, Sequence[str]] = {REAL: ("--data.clips_per_sample", "4")}
"""What a set of faces wants besides; real tracks are longer than a clip, and may be fewer than a batch."""

REVISION = 1
"""Raise it when code changes what runs come to: those from before are then done again, in other folders."""

Words = list[str]

read_yaml = get_loader("yaml")
"""As flags and recipes are read: other readers take `8e-3` for text."""


def recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe that a study leaves as they are; its comments decide nothing."""
    settings = read_yaml(find_config(name).read_text("utf-8"))
    for overridden in ("max_steps", "val_check_interval", "log_every_n_steps"):
        settings["trainer"].pop(overridden, None)
    return {key: value for key, value in settings.items() if not key.endswith("_every")}


@dataclass(frozen=True)
class Pretraining:
    """One pre-training.

    Attributes:
        faces: on which set.
        variant: how, a name of `VARIANTS`.
        steps: how long, in steps of 16 clips; with other batches it takes more steps or fewer.
        seed: of weights, order, views and masks.
    """

    faces: str
    variant: str
    steps: int
    seed: int

    @property
    def clips(self) -> int:
        """Clips seen."""
        return self.steps * CLIPS_PER_STEP

    def words(self, faces: Faces) -> Words:
        """The words behind `maedfer`."""
        at_end = str(self.clips // batch_of(self.variant))
        looks = ("--trainer.val_check_interval", at_end, "--picture_every", at_end)
        return [
            *("pretrain", "--config", PRETRAIN, "--data.shards", str(faces.unlabelled)),
            *("--trainer.max_steps", at_end, *looks),
            *("--trainer.log_every_n_steps", "10", "--checkpoint_every", "200"),
            *("--seed_everything", str(self.seed), *QUIET, *self._flags()),
        ]

    def _flags(self) -> Sequence[str]:
        """Those that decide what comes out."""
        return (*TRACKS.get(self.faces, ()), *VARIANTS[self.variant])

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.faces}-{self.variant}-{self.steps}-{self.seed}"

    def decides(self) -> list[object]:
        """What its outcome hangs on, besides the faces and the code."""
        return [self._flags(), self.steps, self.seed, recipe(PRETRAIN)]


@dataclass(frozen=True)
class Use:
    """One training on labels.

    Attributes:
        row: a name of the demo's `ROWS`.
        faces: on which set.
        labels: labelled clips per class.
        seed: which clips, their order and views, and fresh weights.
        encoder: the pre-training whose encoder is used; None for a fresh one.
        pool: which tokens are pooled; None for what the row has.
    """

    row: str
    faces: str
    labels: int
    seed: int
    encoder: Pretraining | None = None
    pool: str | None = None

    def words(self, faces: Faces, encoder: Path | None) -> Words:
        """The words behind `maedfer`."""
        return [
            *("finetune", "--config", FINETUNE, "--data.shards", str(faces.labelled), *self._flags(encoder)),
            *("--seed_everything", str(self.seed), *QUIET),
        ]

    def _flags(self, encoder: Path | None) -> Words:
        """Those that decide what comes out."""
        flags = [word.format(pretrained=encoder) for word in ROWS[self.row]]
        steps = PROBE_STEPS if PROBE[0] in flags else TRAINING_STEPS
        steps = round(steps * min(2, max(1, self.labels / LABELS_PER_CLASS)))
        # An encoder keeps the shape it was trained in, positions above all; the recipe's is for fresh ones.
        shape = () if encoder is None else ("--model.architecture", "null", "--model.model_args", "null")
        few = ("--data.labels_per_class", str(self.labels), "--trainer.max_steps", str(steps))
        pool = () if self.pool is None else ("--model.pool", self.pool)
        return [*few, *shape, *flags, *pool]

    @property
    def name(self) -> str:
        """What it is, in words."""
        source = "" if self.encoder is None else f"-{self.encoder.variant}-{self.encoder.steps}"
        pool = "" if self.pool is None else f"-{self.pool}"
        return f"{self.faces}-{self.row}-{self.labels}{source}{pool}-{self.seed}"

    def decides(self) -> list[object]:
        """What its outcome hangs on, besides the faces and the code."""
        source = None if self.encoder is None else self.encoder.decides()
        return [self._flags(Path("encoder")), source, self.seed, recipe(FINETUNE)]


@dataclass(frozen=True)
class Bench:
    """Where the runs of a study lie.

    Attributes:
        folder: of the study.
        faces: the sets by their names.
    """

    folder: Path
    faces: Mapping[str, Faces]

    def pretrainings(self, asked: Iterable[Pretraining]) -> dict[Path, Words]:
        """Folders and words of pre-trainings."""
        return {self.folder_of(one): one.words(self.faces[one.faces]) for one in asked}

    def uses(self, asked: Iterable[Use]) -> dict[Path, Words]:
        """Folders and words of uses."""
        return {self.folder_of(one): self._words(one) for one in asked}

    def folder_of(self, one: Pretraining | Use) -> Path:
        """The folder of a run. Other flags, faces or recipes make another one; the study may be moved."""
        room = "encoders" if isinstance(one, Pretraining) else "classifiers"
        text = json.dumps([REVISION, self.faces[one.faces].fingerprint(), one.decides()])
        return self.folder / room / f"{slug(one.name)}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    def _words(self, use: Use) -> Words:
        encoder = None if use.encoder is None else self.folder_of(use.encoder)
        return use.words(self.faces[use.faces], encoder)
