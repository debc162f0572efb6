"""The tasks that a model is trained for: one immutable object per task answers all that depends on it.

To add a task, add a subclass of `Task` with its name in `TaskName` and its object in `TASKS`, and its scores
in `maedfer.evaluation.measures`. Importing this module does not load torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from maedfer.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

TaskName = Literal["classify", "multilabel", "regress"]


@dataclass(frozen=True)
class Task(ABC):
    """Defines the meaning of the K outputs of a model, their targets, loss, decisions and scores.

    Names of scores are those of `maedfer.evaluation`.

    Attributes:
        name: value of the flag `task`, also in `config.json` and `scores.json`.
        main_scores: scores with a confidence interval; higher is better, and the first one selects the
            best epoch.
        class_score: the score of one class or quantity, named `<class_score>_<output>`.
        group_scores: scores of a group of samples, such as those of one subject.
        output_scores: scores that stand for each output too, as `<score>_<output>`, besides their mean.
        has_classes: outputs are probabilities of classes, and a decision is made for each class.
        is_single_label: each sample belongs to exactly one class, and probabilities add up to 1. Such tasks
            have a confusion matrix, McNemar's test, published results and subsets with few labels per class.
        output_prefix: precedes the name of an output in the columns of `predictions.csv`; with
            `is_single_label` it shows the task of a file.
        min_outputs: the smallest number of outputs that can be learned.
        needs_columns: labels are numbers in metadata columns; the `label` of a record is not enough.
        allowed_values: description of the numbers that a metadata column may hold.
    """

    name: ClassVar[TaskName]
    main_scores: ClassVar[tuple[str, ...]]
    class_score: ClassVar[str]
    group_scores: ClassVar[tuple[str, ...]]
    output_scores: ClassVar[tuple[str, ...]] = ()
    has_classes: ClassVar[bool] = True
    is_single_label: ClassVar[bool] = False
    output_prefix: ClassVar[str] = "p_"
    min_outputs: ClassVar[int] = 1
    needs_columns: ClassVar[bool] = True
    allowed_values: ClassVar[str] = "a finite number"

    @property
    def main_score(self) -> str:
        """The score that selects the best epoch."""
        return self.main_scores[0]

    def allows(self, value: float) -> bool:
        """Checks a finite number of a metadata column, see `allowed_values`."""
        return True

    def make_target(self, values: NDArray[np.floating], soft: bool) -> NDArray[np.floating] | None:
        """Returns the target (K,) of a sample from its allowed values (K,); None if they are no label.

        Args:
            values: one number per output.
            soft: keep the shares of votes instead of the class with the most votes.
        """
        return values

    def check_outputs(self, outputs: NDArray[np.floating]) -> None:
        """Checks activated outputs (n, K).

        Raises:
            UserError: they do not suit the task, such as logits instead of probabilities.
        """
        if self.has_classes and ((outputs < -1e-6) | (outputs > 1 + 1e-6)).any():
            raise UserError(
                None, f"{self.name} needs probabilities, but some outputs are outside 0..1 (logits?)"
            )

    def decide(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Returns which classes outputs or targets (n, K) stand for, bool (n, K).

        Raises:
            TypeError: the task has no classes.
        """
        raise TypeError(f"{self.name} has no classes to decide on")

    @abstractmethod
    def activate(self, outputs: Tensor) -> Tensor:
        """Turns raw outputs (B, K) of a model into predictions (B, K)."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor, label_smoothing: float) -> Tensor:
        """Returns the mean loss of raw outputs (B, K) against targets (B, K).

        Args:
            outputs: float32, before the activation.
            targets: rows of numbers.
            weights: (K,), see `class_weights`; ones change nothing.
            label_smoothing: share of the target that is spread over all classes, where classes exclude each
                other.
        """

    def class_weights(self, targets: Tensor) -> Tensor:
        """Returns weights (K,) that balance rare and frequent classes of training targets (n, K)."""
        return targets.new_ones(targets.shape[1])

    def initial_bias(self, targets: Tensor) -> Tensor | None:
        """Returns the bias (K,) that the head starts with, from training targets (n, K); None keeps zeros."""
        return None


@dataclass(frozen=True)
class Classify(Task):
    """A class per sample, or shares of several classes (votes)."""

    name = "classify"
    main_scores = ("uar", "war")
    class_score = "recall"
    group_scores = ("war", "uar")
    is_single_label = True
    min_outputs = 2
    needs_columns = False
    allowed_values = "a number of votes"

    def allows(self, value: float) -> bool:
        """Checks that a number of votes is not negative."""
        return value >= 0

    def make_target(self, values: NDArray[np.floating], soft: bool) -> NDArray[np.floating] | None:
        """Returns the shares of the votes or, if not `soft`, a one-hot row; None without any vote."""
        if not values.any():
            return None
        target: NDArray[np.floating] = values / values.sum() if soft else np.eye(len(values))[values.argmax()]
        return target

    def check_outputs(self, outputs: NDArray[np.floating]) -> None:
        """Checks that rows are probabilities that add up to 1."""
        super().check_outputs(outputs)
        if (abs(outputs.sum(1) - 1) > 1e-2).any():
            raise UserError(None, f"{self.name} needs probabilities that add up to 1 for every sample")

    def decide(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Returns the class with the largest value, one-hot; the first one of a tie."""
        chosen: NDArray[np.bool_] = np.eye(values.shape[1], dtype=np.bool_)[values.argmax(1)]
        return chosen

    def activate(self, outputs: Tensor) -> Tensor:
        """Applies the softmax."""
        return outputs.softmax(-1)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor, label_smoothing: float) -> Tensor:
        """Returns the weighted cross-entropy with smoothed targets."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, targets, weights, label_smoothing=label_smoothing)

    def class_weights(self, targets: Tensor) -> Tensor:
        """Returns n / (K n_k), scikit-learn's `balanced`."""
        return len(targets) / (targets.shape[1] * targets.sum(0).clamp(min=1))


@dataclass(frozen=True)
class MultiLabel(Task):
    """Any number of classes per sample, each decided at a probability of one half."""

    name = "multilabel"
    main_scores = ("macro_f1", "micro_f1")
    class_score = "f1"
    group_scores = ("micro_f1", "exact_match")
    allowed_values = "0 or 1"

    def allows(self, value: float) -> bool:
        """Checks that a value is 0 or 1."""
        return value in (0, 1)

    def decide(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Returns the classes with a value of at least one half."""
        return values >= 0.5

    def activate(self, outputs: Tensor) -> Tensor:
        """Applies the sigmoid."""
        return outputs.sigmoid()

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor, label_smoothing: float) -> Tensor:
        """Returns the binary cross-entropy with weighted positives; labels are not smoothed."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs, targets, pos_weight=weights)

    def class_weights(self, targets: Tensor) -> Tensor:
        """Returns negatives / positives of each label."""
        counts = targets.sum(0).clamp(min=1)
        return (len(targets) - counts) / counts


@dataclass(frozen=True)
class Regress(Task):
    """Continuous quantities, such as valence and arousal."""

    name = "regress"
    main_scores = ("ccc",)
    class_score = "ccc"
    group_scores = ("ccc", "mse")
    output_scores = ("ccc", "pearson", "mse", "mae")
    has_classes = False
    output_prefix = "predicted_"

    def activate(self, outputs: Tensor) -> Tensor:
        """Returns the outputs unchanged."""
        return outputs

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor, label_smoothing: float) -> Tensor:
        """Returns the mean squared error; weights and smoothing do not apply."""
        from torch.nn.functional import mse_loss

        return mse_loss(outputs, targets)

    def initial_bias(self, targets: Tensor) -> Tensor:
        """Returns the mean of each quantity."""
        return targets.mean(0)


TASKS: dict[TaskName, Task] = {task.name: task for task in (Classify(), MultiLabel(), Regress())}


def task_of(name: str) -> Task:
    """Returns the task of a name.

    Raises:
        UserError: there is no task of this name.
    """
    for task in TASKS.values():
        if task.name == name:
            return task
    raise UserError("task", f"{name!r} is not one of {', '.join(TASKS)}")


def task_of_columns(columns: Collection[str]) -> Task | None:
    """Returns the task that wrote `predictions.csv` with these columns; None if no task did."""
    for task in TASKS.values():
        if task.is_single_label == ("label" in columns) and any(
            c.startswith(task.output_prefix) for c in columns
        ):
            return task
    return None
