"""Should I pretrain? UAR against unlabelled clips seen, beside everything that could embarrass it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Result, Row

from studies.answers import Answer, by_seed, gains, pixels, pretrain, spread, use, write_rows
from studies.budget_figure import draw_budget
from studies.faces import MOST_LABELS, make_faces
from studies.trials import BASELINES, SCRATCH, USES, Bench, Pretraining, Use
from studies.variants import DEMO, VARIANTS

GAINS = (10.0, 20.0)
"""Points of UAR over training from scratch, on every seed, that make a budget worth its time."""


def budget(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: Sequence[int] = (175, 350, 700, 1400, 2800),
    variants: Sequence[str] = (DEMO,),
    labels: Sequence[int] = (8, 16, 100),
    seeds: int = 3,
    clips: int = 12_000,
    videos: str | None = None,
) -> None:
    """Pre-train to several budgets, use each encoder with few labels, and set it beside the baselines.

    A question asked again is answered from the runs that are there; more budgets or seeds are added to them.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `messy`, `real`.
        steps: lengths of pre-training, of 16 clips a step; each is a run with its own schedule.
        variants: recipes of pre-training, names of `studies.variants`.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a drawn set.
        videos: folder of face videos, for `real`.

    Raises:
        ValueError: an unknown name, or a run that failed.
    """
    check_variants(variants)
    check_labels(labels)
    folder = Path(out)
    sets = {name: make_faces(folder / "faces", name, clips, videos) for name in faces}
    bench = Bench(folder, sets)
    trained = [
        Pretraining(name, variant, length, seed)
        for seed in range(seeds)
        for name in sets
        for variant in variants
        for length in steps
    ]
    reconstructions = pretrain(bench, trained)
    uses = [Use(row, one.faces, few, one.seed, one) for few in labels for row in USES for one in trained]
    fresh = [
        Use(row, name, few, seed)
        for seed in range(seeds)
        for few in labels
        for row in BASELINES
        for name in sets
    ]
    answers = use(bench, [*fresh, *uses])
    answers += [pixels(sets[name], few, seed) for name in sets for few in labels for seed in range(seeds)]
    write_rows(folder / "budget.csv", answers)
    write_rows(folder / "budget_reconstruction.csv", reconstructions)
    draw_budget(folder / "budget.png", answers)
    title = (
        "UAR in percent on unseen people; mean and standard deviation over seeds. Drawn faces, chance 14.3"
    )
    settings = {"seeds": seeds, "clips": clips, "labels": list(labels), "gains": GAINS}
    rows = table(answers)
    Result("budget", title, settings, rows).publish(folder, dict.fromkeys(rows[0], ""))
    print("\n".join(verdicts(answers)))


def table(answers: Sequence[Answer]) -> list[Row]:
    """One row for each use, recipe and budget: its UAR with every number of labels, baselines first."""
    labels = sorted({answer.labels for answer in answers})
    kinds = dict.fromkeys((a.faces, a.row, a.variant, a.clips) for a in answers)
    order = sorted(kinds, key=lambda kind: (kind[0], kind[3] > 0, kind[2], kind[1], kind[3]))
    return [
        {
            "faces": kind[0],
            "what": f"{kind[1]}, {kind[2]}" if kind[2] else kind[1],
            "clips seen": f"{kind[3]:,}",
            **{f"{few} labels": spread(list(_of(answers, kind, few).values())) for few in labels},
        }
        for kind in order
    ]


def _of(answers: Sequence[Answer], kind: tuple[str, str, str, int], labels: int) -> dict[int, float]:
    """UAR by seed of one row of the table with one number of labels."""
    return by_seed(answers, lambda a: (a.faces, a.row, a.variant, a.clips, a.labels) == (*kind, labels))


def verdicts(answers: Sequence[Answer]) -> list[str]:
    """For every set, use, recipe and number of labels: from how many clips on every seed gains so much."""
    kinds = dict.fromkeys((a.faces, a.row, a.variant, a.labels) for a in answers if a.variant)
    return [
        f"{faces}, {row}, {variant}, {labels} labels: {_verdict(answers, faces, row, variant, labels)}"
        for faces, row, variant, labels in kinds
    ]


def _verdict(answers: Sequence[Answer], faces: str, row: str, variant: str, labels: int) -> str:
    """The smallest budgets from which on the worst seed gains each of `GAINS`, and the best budget."""
    scratch = _of(answers, (faces, SCRATCH, "", 0), labels)
    budgets = sorted({a.clips for a in answers if (a.faces, a.variant) == (faces, variant)})
    worst = {
        clips: min(gains(_of(answers, (faces, row, variant, clips), labels), scratch)) for clips in budgets
    }
    said = []
    for gain in GAINS:
        reached = [
            clips for clips in budgets if all(worst[later] >= gain for later in budgets if later >= clips)
        ]
        said.append(f"+{gain:g} from {reached[0]:,} clips" if reached else f"+{gain:g} at none")
    best = max(budgets, key=lambda clips: worst[clips])
    return f"{', '.join(said)} (at the worst seed {worst[best]:+.1f} after {best:,})"


def check_labels(labels: Sequence[int]) -> None:
    """Refuse more labels than are made.

    Raises:
        ValueError: says how many there are.
    """
    if not all(1 <= few <= MOST_LABELS for few in labels):
        raise ValueError(f"--labels {list(labels)}: take 1 to {MOST_LABELS} labelled clips per class")


def check_variants(names: Sequence[str]) -> None:
    """Refuse names that mean nothing.

    Raises:
        ValueError: lists those that do.
    """
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise ValueError(f"no recipe is called {', '.join(unknown)}: take {', '.join(VARIANTS)}")
