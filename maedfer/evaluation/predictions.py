"""What a model answered for every sample of a part: collected over ranks, checked, kept as a CSV file.

Scores are computed from the whole of these answers, never averaged over batches or ranks: the mean of two
ranks' UAR is not the UAR of their samples.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maedfer.errors import UserError
from maedfer.files import write_atomically
from maedfer.tasks import Task, task_of_columns

ABOUT = ("key", "source", "subject", "fold")
"""Fields of a record that stand in front of its answers."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """One answer per sample, views averaged.

    Attributes:
        keys: keys of the samples, n of them.
        outputs: (n, K); classify: probabilities that add up to 1; multilabel: one probability per class;
            regress: values.
        targets: (n, K); classify: share of each class (one-hot, or votes); multilabel: 0 or 1; regress:
            values.
        names: the K classes or quantities.
        task: which of the three it is.

    Raises:
        ValueError: numbers that are none, or outputs of a classifier that are no probabilities.
    """

    keys: Sequence[str]
    outputs: np.ndarray
    targets: np.ndarray
    names: tuple[str, ...]
    task: Task

    def __post_init__(self) -> None:
        shape = (len(self.keys), len(self.names))
        if self.outputs.shape != shape or self.targets.shape != shape:
            raise ValueError(f"outputs {self.outputs.shape} and targets {self.targets.shape} are not {shape}")
        self._refuse_nan(self.targets, "have no label: --data.skip_unlabelled true leaves them out")
        self._refuse_nan(self.outputs, "got no finite answer: the training diverged, lower its learning rate")
        self.task.check_outputs(self.outputs)

    def _refuse_nan(self, values: np.ndarray, trouble: str) -> None:
        """Refuse rows with a number that is not finite."""
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            raise ValueError(f"{len(bad)} of {len(self)} samples (first: {self.keys[bad[0]]}) {trouble}")

    def __len__(self) -> int:
        """How many samples."""
        return len(self.keys)

    @property
    def truth(self) -> np.ndarray:
        """Number of the true class (n,) of a classification; for votes the one with most of them."""
        return self.targets.argmax(1)

    @property
    def predicted(self) -> np.ndarray:
        """Number of the most probable class (n,) of a classification."""
        return self.outputs.argmax(1)

    def take(self, rows: np.ndarray) -> Predictions:
        """The answers of some samples: row numbers, or one truth value a row."""
        keys = np.asarray(self.keys, dtype=object)[rows].tolist()
        return Predictions(keys, self.outputs[rows], self.targets[rows], self.names, self.task)


def check_counted(predictions: Predictions, expected_keys: Sequence[str], unreadable: int = 0) -> None:
    """Refuse scores of other samples than those that were asked for.

    Args:
        predictions: what was answered.
        expected_keys: keys of the part.
        unreadable: samples that the loader named and left out; so many may be missing.

    Raises:
        ValueError: samples are missing, counted more than once, or unexpected.
    """
    counts, expected = Counter(predictions.keys), set(expected_keys)
    troubles = {
        "missing": expected - counts.keys(),
        "counted more than once": {key for key, count in counts.items() if count > 1},
        "not of this part": counts.keys() - expected,
    }
    if len(troubles["missing"]) <= unreadable:
        del troubles["missing"]
    found = [f"{len(keys)} {name} (first: {min(keys)})" for name, keys in troubles.items() if keys]
    if found:
        counted = len(expected & counts.keys())
        raise ValueError(f"counted {counted} of {len(expected)} samples: {', '.join(found)}")


def write_predictions(path: Path, predictions: Predictions, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with a row per sample: key, source, subject, fold, what is true, what was answered.

    The last columns are `label`, `predicted` and `p_<class>` for a classification, and `label_<class>` where
    its labels are votes; `label_<class>` (0 or 1) and `p_<class>` for several labels; `label_<name>` and
    `predicted_<name>` for quantities.

    Args:
        path: the file.
        predictions: what to write.
        records: JSON records of the samples, in any order.
    """
    by_key = {record["key"]: record for record in records}
    columns = _columns(predictions)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*ABOUT, *columns))
    for row, key in enumerate(predictions.keys):
        about = [key, *(by_key[key].get(name) for name in ABOUT[1:])]
        writer.writerow([*about, *(values[row] for values in columns.values())])
    write_atomically(path, stream.getvalue().encode())


def _columns(predictions: Predictions) -> dict[str, list[Any]]:
    """The columns behind those of `ABOUT`, as `read_predictions` expects them."""
    names, columns = predictions.names, {}
    task = predictions.task
    if task.is_single_label:
        columns["label"] = [names[i] for i in predictions.truth]
        columns["predicted"] = [names[i] for i in predictions.predicted]
    if not task.is_single_label or predictions.targets.max(1, initial=0).min(initial=1) < 1:
        columns |= _numbers("label_", names, predictions.targets)
    return columns | _numbers(task.output_prefix, names, predictions.outputs)


def _numbers(prefix: str, names: Sequence[str], values: np.ndarray) -> dict[str, list[Any]]:
    """One column per name, with the nine digits that tell every float32 from its neighbours."""
    return {f"{prefix}{name}": [f"{v:.9g}" for v in values[:, i]] for i, name in enumerate(names)}


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a file.
    """
    header, *rows = _cells(path)
    try:
        return _parsed(dict(zip(header, zip(*rows, strict=True), strict=True)))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{path} is not a file of predictions: {error}") from error


def read_abouts(path: Path) -> list[dict[str, Any]]:
    """What such a file says of its samples, in the same order: key, source, subject and fold, or None.

    Raises:
        FileNotFoundError: there is no such file.
    """
    header, *rows = _cells(path)
    cells = [dict(zip(header, row, strict=False)) for row in rows]
    return [{name: row.get(name) or None for name in ABOUT} for row in cells]


def _cells(path: Path) -> list[list[str]]:
    """The header and the rows of a CSV file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `maedfer evaluate --out` writes predictions")
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream)) or [[]]


def _parsed(columns: Mapping[str, Sequence[str]]) -> Predictions:
    """Predictions from columns of text."""
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
