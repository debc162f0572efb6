"""All that is computed of predictions: scores, scores of each class, scores by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from maedfer.evaluation.measures import TITLES, ClassScores, per_class
from maedfer.evaluation.predictions import Predictions, SampleInfo
from maedfer.evaluation.scores import GroupScores, grouped, scores, shown


@dataclass(frozen=True, eq=False)
class ScoreCard:
    """Predictions with their scores, computed once for the screen, `scores.json`, figures and pages.

    Attributes:
        predictions: the predictions that were scored.
        samples: facts about the samples, in any order.
        scores: all scores of the task, see `maedfer.evaluation.scores.scores`.
        classes: recall, precision and F1 of each class; empty for a task without classes.
        groups: scores by subject, fold and metadata column; empty without facts about the samples.
    """

    predictions: Predictions
    samples: Sequence[SampleInfo]
    scores: dict[str, float]
    classes: tuple[ClassScores, ...]
    groups: dict[str, list[GroupScores]]

    @classmethod
    def of(cls, predictions: Predictions, samples: Sequence[SampleInfo] = ()) -> Self:
        """Scores predictions.

        Args:
            predictions: predictions of a model.
            samples: facts about all samples, in any order, which name their groups; without them there are
                no groups.

        Raises:
            UserError: there are no samples, or no sample has any label.
        """
        return cls(
            predictions,
            samples,
            scores=scores(predictions),
            classes=tuple(per_class(predictions)) if predictions.task.has_classes else (),
            groups=grouped(predictions, samples) if samples else {},
        )

    def as_text(self, synthetic: bool) -> str:
        """Returns a small table for the screen: the scores, then those of each class or quantity."""
        names, values = self.predictions.names, self.scores
        kinds = self.predictions.task.output_scores
        if kinds:
            rows = [["", *(TITLES.get(kind, kind) for kind in kinds)]]
            rows += [["mean", *(shown(kind, values[kind]) for kind in kinds)]]
            rows += [[name, *(shown(kind, values[f"{kind}_{name}"]) for kind in kinds)] for name in names]
            rows += [["samples", shown("samples", values["samples"])]]
        else:
            fields = ClassScores._fields[1:]
            rows = [["", "percent"]]
            rows += [[TITLES.get(name, name), shown(name, value)] for name, value in values.items()]
            rows += [["class", *(TITLES.get(field, field) for field in fields)]]
            rows += [[row.name, *map(shown, fields, row[1:])] for row in self.classes]
        width = max(len(row[0]) for row in rows) + 2
        lines = [f"{first:<{width}}" + "".join(f"{cell:>10}" for cell in cells) for first, *cells in rows]
        return "\n".join(lines + ["(synthetic faces)"] * synthetic)
