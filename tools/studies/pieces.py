"""What is each piece worth? The shipped recipe with one thing changed, the published one with one gained."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.result import Result, Row

from studies.answers import Answer, Reconstruction, by_seed, gains, pretrain, spread, use, write_rows
from studies.asked import asked
from studies.pieces_figure import draw_pieces
from studies.trials import CLIPS_PER_STEP, USES, Use
from studies.variants import DEMO, LEVERS, OTHER_TARGETS, PIECES, PUBLISHED

REFERENCES = {"pieces": DEMO, "levers": PUBLISHED}
"""What the variants of a question are measured from."""


def pieces(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: int = 700,
    variants: Sequence[str] = tuple(PIECES),
    labels: int = 16,
    seeds: int = 3,
    clips: int = 12_000,
    videos: str | None = None,
) -> None:
    """The shipped recipe with one piece put back as published, or left out, at one budget.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `diverse`, `messy`, `real`.
        steps: length of pre-training, of 16 clips a step.
        variants: which pieces.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a drawn set.
        videos: folder of face videos, for `real`.

    Raises:
        ValueError: nothing asked for, an unknown name, or a run that failed.
    """
    _compare("pieces", out, faces, steps, variants, labels, seeds, clips, videos)


def levers(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: int = 700,
    variants: Sequence[str] = tuple(LEVERS),
    labels: int = 16,
    seeds: int = 3,
    clips: int = 12_000,
    videos: str | None = None,
) -> None:
    """The published recipe with one lever pulled, at one budget: what gets it off the plateau.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `diverse`, `messy`, `real`.
        steps: length of pre-training, of 16 clips a step.
        variants: which levers.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a drawn set.
        videos: folder of face videos, for `real`.

    Raises:
        ValueError: nothing asked for, an unknown name, or a run that failed.
    """
    _compare("levers", out, faces, steps, variants, labels, seeds, clips, videos)


def _compare(
    name: str,
    out: str,
    faces: Sequence[str],
    steps: int,
    variants: Sequence[str],
    labels: int,
    seeds: int,
    clips: int,
    videos: str | None,
) -> None:
    """Pre-train and use a reference and its variants; table, rows and figure."""
    reference = REFERENCES[name]
    names = (reference, *(variant for variant in variants if variant != reference))
    question = asked(out, faces, (steps,), names, (labels,), seeds, clips, videos)
    trained = question.pretrainings
    reconstructions = pretrain(question.bench, trained)
    answers = use(
        question.bench, [Use(row, one.faces, labels, one.seed, one) for one in trained for row in USES]
    )
    write_rows(question.out / f"{name}.csv", answers)
    write_rows(question.out / f"{name}_reconstruction.csv", reconstructions)
    rows = table(answers, reconstructions, reference)
    title = f"UAR after {steps * CLIPS_PER_STEP:,} clips, {labels} labels per class, beside the {reference}"
    settings = {"seeds": seeds, "clips": clips, "steps": steps}
    Result(name, title, settings, rows).publish(question.out, dict.fromkeys(rows[0], ""))
    draw_pieces(question.out / f"{name}.png", answers, reference, title)


def table(answers: Sequence[Answer], reconstructions: Sequence[Reconstruction], reference: str) -> list[Row]:
    """One row for each set and variant: UAR of both uses, what it gains on the reference, held-out errors.

    Errors stand in shares of the position mean's, and only where they are those of the reference's targets.
    """
    rows = []
    for faces, variant in dict.fromkeys((a.faces, a.variant) for a in answers):
        row: Row = {"faces": faces, "recipe": variant}
        for name in USES:
            found, plain = (
                by_seed(answers, lambda a, v=which: (a.faces, a.variant, a.row) == (faces, v, name))  # noqa: B023
                for which in (variant, reference)
            )
            row[name] = spread(list(found.values()))
            row[f"{name}: gain"] = "" if variant == reference else signed(gains(found, plain))
        errors = [one for one in reconstructions if (one.faces, one.variant) == (faces, variant)]
        for part in ("appearance", "motion"):
            row[f"{part} error"] = None if variant in OTHER_TARGETS else _mean_error(errors, part)
        rows.append(row)
    return rows


def _mean_error(errors: Sequence[Reconstruction], part: str) -> str | None:
    """Over seeds; None where no clips are held out."""
    values = [getattr(error, part) for error in errors]
    return None if None in values else f"{sum(values) / len(values):.2f}"


def signed(values: Sequence[float]) -> str:
    """Mean with its sign, and every seed."""
    return f"{sum(values) / len(values):+.1f} ({' '.join(f'{value:+.1f}' for value in values)})"
