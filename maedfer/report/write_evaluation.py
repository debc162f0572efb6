"""Writes the folder of an evaluation: predictions, scores, figures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maedfer.evaluation.predictions import SampleInfo, write_predictions
from maedfer.evaluation.score_card import ScoreCard
from maedfer.files import defined, dump_json, write_atomically
from maedfer.report.evaluation import write_score_report
from maedfer.report.score_figures import LEARNING, draw_learning, draw_scores


def write_evaluation(
    folder: Path,
    title: str,
    command: str,
    card: ScoreCard,
    records: Sequence[SampleInfo],
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
        card: predictions and their scores.
        records: records of the samples.
        synthetic: whether the faces were drawn.
        settings: the settings of a run.
        seed: the seed of a run.
        corpus: the corpus of the samples, of which published results are shown.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", card.predictions, records)
    by = {column: [row.as_json() for row in rows] for column, rows in card.groups.items()}
    content = {"scores": card.scores, "synthetic": synthetic, "by": by}
    # A subject of whom no positive is known has no F1, and JSON has no NaN.
    write_atomically(folder / "scores.json", dump_json(defined(content), indent=1))
    said = f"{title} (synthetic faces)" if synthetic else title
    draw_scores(figures, card, said)
    draw_learning(figures / LEARNING, folder / "metrics.csv", folder / "validation.csv", said)
    write_score_report(
        folder,
        title=title,
        command=command,
        card=card,
        records=records,
        synthetic=synthetic,
        seed=seed,
        settings=settings,
        corpus=corpus,
    )
