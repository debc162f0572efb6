"""What is each piece worth? The shipped recipe with one thing changed, the published one with one gained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from benchmarks.result import Result, Row

from studies.answers import Answer, Reconstruction, by_seed, gains, pretrain, spread, use, write_rows
from studies.asked import Asked, asked
from studies.cost import gflop
from studies.pieces_figure import draw_pieces
from studies.trials import USES, Use
from studies.variants import DEMO, LEVERS, OTHER_TARGETS, PIECES, PUBLISHED

Recipe = Literal["demo", "published"]
Equal = Literal["clips", "operations"]

REFERENCES = {"demo": (DEMO, PIECES), "published": (PUBLISHED, LEVERS)}
"""What variants are measured from, and those that there are."""


def pieces(
    recipe: Recipe = "demo",
    variants: Sequence[str] | None = None,
    equal: Equal = "clips",
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: int = 700,
    labels: int = 16,
    seeds: int = 3,
    clips: int = 12_000,
    videos: str | None = None,
) -> None:
    """Variants of a recipe at one budget, each with one thing changed.

    Args:
        recipe: `demo`, with a piece put back as published or left out; `published`, with a lever pulled that
            may get it off its plateau.
        variants: which of them; all by default.
        equal: what all have the same number of. With `operations`, a variant whose clips cost less sees more.
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `diverse`, `messy`, `real`.
        steps: length of pre-training, of 16 clips a step; with equal operations, that of the recipe.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a drawn set.
        videos: folder of face videos, for `real`.

    Raises:
        ValueError: nothing asked for, an unknown name, or a run that failed.
    """
    reference, known = REFERENCES[recipe]
    names = (reference, *(name for name in (known if variants is None else variants) if name != reference))
    equal_to = reference if equal == "operations" else None
    question = asked(out, faces, (steps,), names, (labels,), seeds, clips, videos, equal_to)
    name = f"pieces-{recipe}-operations" if equal_to else f"pieces-{recipe}"
    reconstructions = pretrain(question.bench, question.pretrainings)
    uses = [Use(row, one.faces, labels, one.seed, one) for one in question.pretrainings for row in USES]
    write_rows(question.out / f"{name}_reconstruction.csv", reconstructions)
    columns = partial(cost_and_errors, reconstructions)
    label = partial(with_cost, reference)
    publish(name, question, reference, use(question.bench, uses), columns, label)


def publish(
    name: str,
    question: Asked,
    reference: str,
    answers: Sequence[Answer],
    columns: Callable[[str, str], Row] = lambda faces, variant: {},
    label: Callable[[str], str] = str,
) -> None:
    """Rows, table and figure.

    Args:
        name: of the files.
        question: what was asked.
        reference: the variant that the others are measured from.
        answers: all seeds of everything.
        columns: what else is known of a variant on a set of faces.
        label: of a variant in the figure.
    """
    write_rows(question.out / f"{name}.csv", answers)
    title = f"UAR after {question.budget}, {question.labels[0]} labels per class, beside {reference}"
    rows = [row | columns(row["faces"], row["what"]) for row in table(answers, reference)]
    settings = {"seeds": question.seeds, "clips": question.clips, "steps": question.steps[0]}
    Result(name, title, settings, rows).publish(question.out, dict.fromkeys(rows[0], ""))
    draw_pieces(question.out / f"{name}.png", answers, reference, title, label)


def table(answers: Sequence[Answer], reference: str) -> list[Row]:
    """One row for each set and variant: UAR of every use, and what it gains on the reference."""
    rows = []
    for faces, variant in dict.fromkeys((a.faces, a.variant) for a in answers):
        row: Row = {"faces": faces, "what": variant}
        for name in dict.fromkeys(a.row for a in answers):
            found, plain = (
                by_seed(answers, lambda a, v=which: (a.faces, a.variant, a.row) == (faces, v, name))  # noqa: B023
                for which in (variant, reference)
            )
            row[name] = spread(list(found.values()))
            row[f"{name}: gain"] = "" if variant == reference else signed(gains(found, plain))
        rows.append(row)
    return rows


def cost_and_errors(reconstructions: Sequence[Reconstruction], faces: str, variant: str) -> Row:
    """Clips seen, operations of a clip, and held-out errors in shares of the position mean's.

    Errors stand only where they are those of the reference's targets.
    """
    errors = [one for one in reconstructions if (one.faces, one.variant) == (faces, variant)]
    row: Row = {"clips seen": f"{errors[0].clips:,}", "GFLOP a clip": f"{gflop(variant):.3f}"}
    for part in ("appearance", "motion"):
        row[f"{part} error"] = None if variant in OTHER_TARGETS else _mean_error(errors, part)
    return row


def with_cost(reference: str, variant: str) -> str:
    """A variant's name, and its operations in those of the reference where they are others."""
    share = gflop(variant) / gflop(reference)
    return variant if abs(share - 1) < 0.005 else f"{variant} ({share:.2f} of the FLOPs a clip)"


def _mean_error(errors: Sequence[Reconstruction], part: str) -> str | None:
    """Over seeds; None where no clips are held out."""
    values = [getattr(error, part) for error in errors]
    return None if None in values else f"{sum(values) / len(values):.2f}"


def signed(values: Sequence[float]) -> str:
    """Mean with its sign, and every seed."""
    return f"{sum(values) / len(values):+.1f} ({' '.join(f'{value:+.1f}' for value in values)})"
