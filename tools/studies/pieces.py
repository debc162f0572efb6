"""What is each piece worth? The shipped recipe with one thing changed, the published one with one gained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Result, Row

from studies.answers import Answer, Reconstruction, by_seed, gains, pretrain, spread, use, write_rows
from studies.budget import check_labels, check_variants
from studies.faces import make_faces
from studies.pieces_figure import draw_pieces
from studies.trials import CLIPS_PER_STEP, USES, Bench, Pretraining, Use
from studies.variants import DEMO, LEVERS, PIECES, PUBLISHED


def pieces(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: int = 1400,
    variants: Sequence[str] = tuple(PIECES),
    labels: int = 16,
    seeds: int = 3,
    clips: int = 12_000,
) -> None:
    """The shipped recipe with one piece put back as published, or left out, at one budget.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `messy`.
        steps: length of pre-training, of 16 clips a step.
        variants: which pieces.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a set.

    Raises:
        ValueError: an unknown name, or a run that failed.
    """
    _compare("pieces", DEMO, out, faces, steps, variants, labels, seeds, clips)


def levers(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: int = 1400,
    variants: Sequence[str] = tuple(LEVERS),
    labels: int = 16,
    seeds: int = 3,
    clips: int = 12_000,
) -> None:
    """The published recipe with one lever pulled, at one budget: what gets it off the plateau.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `messy`.
        steps: length of pre-training, of 16 clips a step.
        variants: which levers.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a set.

    Raises:
        ValueError: an unknown name, or a run that failed.
    """
    _compare("levers", PUBLISHED, out, faces, steps, variants, labels, seeds, clips)


def _compare(
    question: str,
    reference: str,
    out: str,
    faces: Sequence[str],
    steps: int,
    variants: Sequence[str],
    labels: int,
    seeds: int,
    clips: int,
) -> None:
    """Pre-train and use a reference and its variants; table, rows and figure."""
    names = list(dict.fromkeys((reference, *variants)))
    check_variants(names)
    check_labels([labels])
    folder = Path(out)
    bench = Bench(folder, {name: make_faces(folder / "faces", name, clips) for name in faces})
    # Seeds outermost: whoever stops halfway has whole rounds.
    trained = [
        Pretraining(name, variant, steps, seed)
        for seed in range(seeds)
        for name in faces
        for variant in names
    ]
    reconstructions = pretrain(bench, trained)
    answers = use(bench, [Use(row, one.faces, labels, one.seed, one) for row in USES for one in trained])
    write_rows(folder / f"{question}.csv", answers)
    write_rows(folder / f"{question}_reconstruction.csv", reconstructions)
    rows = table(answers, reconstructions, reference)
    title = f"UAR after {steps * CLIPS_PER_STEP:,} clips, {labels} labels per class, beside the {reference}"
    Result(question, title, {"seeds": seeds, "clips": clips}, rows).publish(
        folder, dict.fromkeys(rows[0], "")
    )
    draw_pieces(folder / f"{question}.png", answers, reference, title)


def table(answers: Sequence[Answer], reconstructions: Sequence[Reconstruction], reference: str) -> list[Row]:
    """One row for each set and variant: UAR of both uses, what it gains on the reference, held-out errors."""
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
        row["appearance error"] = f"{sum(e.appearance for e in errors) / len(errors):.2f}"
        row["motion error"] = f"{sum(e.motion for e in errors) / len(errors):.2f}"
        rows.append(row)
    return rows


def signed(values: Sequence[float]) -> str:
    """Mean with its sign, and every seed."""
    return f"{sum(values) / len(values):+.1f} ({' '.join(f'{value:+.1f}' for value in values)})"
