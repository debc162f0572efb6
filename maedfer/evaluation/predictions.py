"""Predictions of a model for every sample of a test set: checked, and kept as a CSV file.

Scores are computed from all predictions together, never averaged over batches or ranks: the mean of the UAR
of two ranks is not the UAR of their samples.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from maedfer.data.shards.records import TrackRecord
from maedfer.errors import UserError
from maedfer.files import write_atomically
from maedfer.runs.fold_folder import FoldFolder
from maedfer.tasks import Task, task_of_columns

SAMPLE_COLUMNS = ("key", "source", "subject", "fold")
"""Columns of `predictions.csv` that describe the sample; they come before those of the task."""


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """Facts about a sample by which scores are grouped.

    Attributes:
        key: key of the sample.
        source: name of the video.
        subject: the person who is seen, if known.
        fold: cross-validation fold, if there are folds.
        metadata: other known values.
    """

    key: str
    source: str | None = None
    subject: str | None = None
    fold: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: TrackRecord) -> Self:
        """Takes the facts from the record of a sample."""
        subject, fold = _text(record.subject), _text(record.fold)
        return cls(record.key, _text(record.source), subject, fold, record.metadata)

    def value(self, column: str) -> str | None:
        """Returns the subject, the fold or a metadata value as text; None if it is missing or empty."""
        return _text(getattr(self, column) if column in SAMPLE_COLUMNS else self.metadata.get(column))


def _text(value: object) -> str | None:
    return None if value in (None, "") else str(value)


@dataclass(frozen=True, eq=False)
class Predictions:
    """A prediction per sample, averaged over views.

    Attributes:
        keys: keys of the samples, n of them.
        outputs: (n, K); classify: probabilities that add up to 1; multilabel: one probability per class;
            regress: values.
        targets: (n, K); classify: share of each class (one-hot, or votes); multilabel: 0 or 1; regress:
            values.
        names: names of the K classes or quantities.
        task: the task of the model.

    Raises:
        ValueError: outputs or targets have another shape than keys and names.
        UserError: NaN or infinite values, or outputs of a classifier that are not probabilities.
    """

    keys: Sequence[str]
    outputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    names: tuple[str, ...]
    task: Task

    def __post_init__(self) -> None:
        shape = (len(self.keys), len(self.names))
        if self.outputs.shape != shape or self.targets.shape != shape:
            raise ValueError(f"outputs {self.outputs.shape} and targets {self.targets.shape} are not {shape}")
        self._check_finite(self.targets, "have no label: `skip_unlabelled` leaves them out")
        self._check_finite(
            self.outputs, "have NaN or infinite outputs: training diverged, take a lower learning rate"
        )
        self.task.check_outputs(self.outputs)

    def _check_finite(self, values: NDArray[np.float64], problem: str) -> None:
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            raise UserError(None, f"{len(bad)} of {len(self)} samples (first: {self.keys[bad[0]]}) {problem}")

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.keys)

    @property
    def truth(self) -> NDArray[np.int64]:
        """The number of the true class (n,) of a classification; for votes that with most of them."""
        numbers: NDArray[np.int64] = self.targets.argmax(1)
        return numbers

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The number of the most probable class (n,) of a classification."""
        numbers: NDArray[np.int64] = self.outputs.argmax(1)
        return numbers

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Predictions:
        """Returns the predictions of some samples: row numbers, or a bool for each row."""
        keys = np.asarray(self.keys, dtype=object)[rows].tolist()
        return Predictions(keys, self.outputs[rows], self.targets[rows], self.names, self.task)


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """The predictions of a run, an evaluation or a cross-validation, and facts about its clips.

    Attributes:
        name: its folder as given on the command line, or the fold of its test clips.
        predictions: its predictions.
        samples: facts about the clips, in the same order.
        has_folds: whether its scores are means over the folds of its clips.
    """

    name: str
    predictions: Predictions
    samples: Sequence[SampleInfo]
    has_folds: bool

    @classmethod
    def read(cls, name: str, folder: Path) -> Self:
        """Reads `predictions.csv` in a folder.

        Raises:
            FileNotFoundError: it is missing.
            UserError: it is not a file of predictions.
        """
        table, has_folds = folder / "predictions.csv", FoldFolder(folder).note.is_file()
        if has_folds and not table.is_file():
            again = f"maedfer finetune --run {folder} --resume"
            raise FileNotFoundError(f"{folder}: the runs of its folds have not ended; continue with: {again}")
        return cls(name, read_predictions(table), read_samples(table), has_folds)


def check_counted(predictions: Predictions, expected_keys: Sequence[str], unreadable: int = 0) -> None:
    """Checks that every expected sample was predicted exactly once.

    Args:
        predictions: predictions of a pass over the data.
        expected_keys: keys of the samples that were asked for.
        unreadable: number of samples that the loader left out; as many may be missing.

    Raises:
        RuntimeError: samples are missing, counted more than once, or unexpected.
    """
    counts, expected = Counter(predictions.keys), set(expected_keys)
    problems = {
        "missing": expected - counts.keys(),
        "counted more than once": {key for key, count in counts.items() if count > 1},
        "not of this subset": counts.keys() - expected,
    }
    if len(problems["missing"]) <= unreadable:
        del problems["missing"]
    found = [f"{len(keys)} {name} (first: {min(keys)})" for name, keys in problems.items() if keys]
    if found:
        counted = len(expected & counts.keys())
        raise RuntimeError(f"counted {counted} of {len(expected)} samples: {', '.join(found)}")


def write_predictions(path: Path, predictions: Predictions, samples: Sequence[SampleInfo]) -> None:
    """Writes a CSV file with a row per sample: key, source, subject, fold, target, prediction.

    The last columns are `label`, `predicted` and `p_<class>` for a classification, and `label_<class>` if its
    labels are votes; `label_<class>` (0 or 1) and `p_<class>` for several labels; `label_<name>` and
    `predicted_<name>` for quantities.

    Args:
        path: the file.
        predictions: predictions to write.
        samples: facts about the samples, in any order.
    """
    by_key = {sample.key: sample for sample in samples}
    columns = _columns(predictions)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*SAMPLE_COLUMNS, *columns))
    for row, key in enumerate(predictions.keys):
        facts = [getattr(by_key[key], name) for name in SAMPLE_COLUMNS]
        writer.writerow([*facts, *(values[row] for values in columns.values())])
    write_atomically(path, stream.getvalue().encode())


def _columns(predictions: Predictions) -> dict[str, list[str]]:
    """Returns the columns of the task, as `read_predictions` expects them."""
    names, task = predictions.names, predictions.task
    columns: dict[str, list[str]] = {}
    if task.is_single_label:
        columns["label"] = [names[i] for i in predictions.truth]
        columns["predicted"] = [names[i] for i in predictions.predicted]
    if not task.is_single_label or predictions.targets.max(1, initial=0).min(initial=1) < 1:
        columns |= _numbers("label_", names, predictions.targets)
    return columns | _numbers(task.output_prefix, names, predictions.outputs)


def _numbers(prefix: str, names: Sequence[str], values: NDArray[np.float64]) -> dict[str, list[str]]:
    """Returns one column per name, with nine digits, which distinguish any two float32."""
    return {f"{prefix}{name}": [f"{v:.9g}" for v in values[:, i]] for i, name in enumerate(names)}


def read_predictions(path: Path) -> Predictions:
    """Reads a file that `write_predictions` wrote.

    Raises:
        FileNotFoundError: it is missing.
        UserError: it is not such a file.
    """
    header, *rows = _read_cells(path)
    try:
        return _parse(dict(zip(header, zip(*rows, strict=True), strict=True)))
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(None, f"{path} is not a file of predictions: {error}") from error


def read_samples(path: Path) -> list[SampleInfo]:
    """Reads the facts about samples from a file of predictions, in the same order.

    Raises:
        FileNotFoundError: it is missing.
    """
    header, *rows = _read_cells(path)
    samples = []
    for row in rows:
        cells = {name: _text(cell) for name, cell in zip(header, row, strict=False)}
        key, source, subject, fold = (cells.get(name) for name in SAMPLE_COLUMNS)
        samples.append(SampleInfo(key or "", source, subject, fold))
    return samples


def _read_cells(path: Path) -> list[list[str]]:
    """Reads the header and the rows of a CSV file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `maedfer evaluate --out` writes predictions")
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream)) or [[]]


def _parse(columns: Mapping[str, Sequence[str]]) -> Predictions:
    """Returns predictions from columns of text."""
    task = task_of_columns(columns)
    if task is None:
        raise UserError(None, "its columns are not those of any task")
    prefix = task.output_prefix
    names = tuple(name.removeprefix(prefix) for name in columns if name.startswith(prefix))
    outputs = np.array([columns[f"{prefix}{name}"] for name in names], dtype=np.float64).T
    if task.is_single_label and f"label_{names[0]}" not in columns:
        targets = np.eye(len(names))[[names.index(label) for label in columns["label"]]]
    else:
        targets = np.array([columns[f"label_{name}"] for name in names], dtype=np.float64).T
    return Predictions(list(columns["key"]), outputs, targets, names, task)
