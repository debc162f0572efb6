"""Writes the folder of an evaluation: predictions, scores, figures and the page."""

from __future__ import annotations

from pathlib import Path

from maedfer.data.labels.subsets import Part
from maedfer.evaluation.predictions import Predictions, write_predictions
from maedfer.evaluation.scores import grouped, scores
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.evaluation import write_score_report
from maedfer.report.score_figures import LEARNING, draw_learning, draw_scores


def write_evaluation(
    folder: Path,
    title: str,
    command: str,
    predictions: Predictions,
    part: Part,
    synthetic: bool,
    settings: str = "",
    seed: int | None = None,
    corpus: str | None = None,
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
        corpus: the corpus of the samples, of which published results are shown.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", predictions, part.records)
    by = grouped(predictions, part.records)
    content = {"scores": scores(predictions), "synthetic": synthetic, "by": by}
    # A subject of whom no positive is known has no F1, and JSON has no NaN.
    write_atomically(folder / "scores.json", dump_json(defined(content), indent=1))
    said = f"{title} (synthetic faces)" if synthetic else title
    draw_scores(figures, predictions, said)
    draw_learning(figures / LEARNING, folder / "metrics.csv", folder / "validation.csv", said)
    about = (part.records, synthetic, seed, settings, corpus)
    write_score_report(folder, title, command, predictions, *about)
