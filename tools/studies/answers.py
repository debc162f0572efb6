"""What came out of the runs of a study, as rows that tables and figures are made of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean, stdev

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.demo.table import PIXELS
from maedfer.evaluation.scores import scores
from maedfer.files import write_atomically
from maedfer.processes.parallel_runs import run_in_parallel
from maedfer.training.finetuning.pixel_baseline import pixel_predictions
from studies.faces import Faces
from studies.trials import Bench, Pretraining, Use


@dataclass(frozen=True)
class Answer:
    """The UAR of one use of one encoder, or of a baseline.

    Attributes:
        faces: set of faces.
        variant: how the encoder was pre-trained; empty for a baseline.
        clips: unlabelled clips it has seen; 0 for a baseline.
        row: what was made of it.
        labels: labelled clips per class.
        seed: of both.
        uar: on people not seen, in percent.
    """

    faces: str
    variant: str
    clips: int
    row: str
    labels: int
    seed: int
    uar: float


@dataclass(frozen=True)
class Reconstruction:
    """What a pre-training reconstructs of held-out clips: error in shares of the position mean's.

    Attributes:
        faces: set of faces.
        variant: how.
        clips: clips seen.
        seed: of the pre-training.
        appearance: below 1 is better than the mean target of each position; None without held-out clips.
        motion: the same.
    """

    faces: str
    variant: str
    clips: int
    seed: int
    appearance: float | None
    motion: float | None


def pretrain(bench: Bench, asked: Sequence[Pretraining]) -> list[Reconstruction]:
    """Pre-train what is not there yet; returns what each reconstructs."""
    run_in_parallel(bench.pretrainings(asked), "pre-training")
    return [_reconstruction(bench, one) for one in asked]


def use(bench: Bench, asked: Sequence[Use]) -> list[Answer]:
    """Train on labels what is not there yet; returns what each answers."""
    run_in_parallel(bench.uses(asked), "training on labels")
    return [_answer(bench, one) for one in asked]


def pixels(faces: Faces, labels: int, seed: int) -> Answer:
    """The pixel baseline, on the labelled clips that a use of the same seed has."""
    data = LabelledDataModule(
        str(faces.labelled), val_share=0.0, labels_per_class=labels, seed=seed, workers=0
    )
    uar = 100 * scores(pixel_predictions(data))["uar"]
    return Answer(faces.name, "", 0, PIXELS, labels, seed, uar)


def _reconstruction(bench: Bench, one: Pretraining) -> Reconstruction:
    held_out = json.loads((bench.folder_of(one) / "summary.json").read_text())["held_out"]
    errors = (held_out.get(f"{part}_vs_position_mean") for part in ("appearance", "motion"))
    return Reconstruction(one.faces, one.variant, one.clips, one.seed, *errors)


def _answer(bench: Bench, one: Use) -> Answer:
    uar = 100 * json.loads((bench.folder_of(one) / "summary.json").read_text())["scores"]["uar"]
    source = ("", 0) if one.encoder is None else (one.encoder.variant, one.encoder.clips)
    return Answer(one.faces, *source, one.row, one.labels, one.seed, uar)


def write_rows(path: Path, rows: Iterable[Answer | Reconstruction]) -> None:
    """Write rows of one kind as CSV."""
    rows, text = list(rows), io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(rows[0])], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    write_atomically(path, text.getvalue().encode())


def by_seed(answers: Iterable[Answer], chosen: Callable[[Answer], bool]) -> dict[int, float]:
    """UAR of every seed among the chosen answers, which must be one of each.

    Raises:
        ValueError: two answers of one seed.
    """
    found: dict[int, float] = {}
    for answer in filter(chosen, answers):
        if answer.seed in found:
            raise ValueError(f"two answers of seed {answer.seed}: {answer}")
        found[answer.seed] = answer.uar
    return found


def gains(after: Mapping[int, float], before: Mapping[int, float]) -> list[float]:
    """Differences of the same seed."""
    return [after[seed] - before[seed] for seed in sorted(after)]


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{mean(values):.1f}"
