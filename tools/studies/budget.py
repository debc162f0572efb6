"""Should I pretrain? UAR against unlabelled clips seen, beside everything that could embarrass it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.result import Result, Row

from maedfer.demo.table import PIXELS
from studies.answers import Answer, by_seed, gains, pixels, pretrain, spread, use, write_rows
from studies.asked import Asked, asked
from studies.budget_figure import draw_budget
from studies.trials import BASELINES, SCRATCH, USES, Use
from studies.variants import DEMO, JOINT

GAINS = (10.0, 20.0)
"""Points of UAR over training from scratch, on every seed, that make a budget worth its time."""

TITLE = (
    "UAR in percent on people not seen in training, mean and standard deviation over seeds; chance is 14.3"
)


def budget(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: Sequence[int] = (175, 350, 700, 1400, 2800),
    variants: Sequence[str] = (DEMO, JOINT),
    labels: Sequence[int] = (8, 16, 100),
    seeds: int = 3,
    clips: int = 12_000,
    videos: str | None = None,
) -> None:
    """Pre-train to several budgets, use each encoder with few labels, and set it beside the baselines.

    `budget.csv`, `budget.json` and `budget.png` hold what was asked last; runs stay, and are not done again.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `diverse`, `messy`, `real`.
        steps: lengths of pre-training, of 16 clips a step; each is a run with its own schedule.
        variants: recipes of pre-training, names of `studies.variants`.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a drawn set.
        videos: folder of face videos, for `real`.

    Raises:
        ValueError: nothing asked for, an unknown name, or a run that failed.
    """
    question = asked(out, faces, steps, variants, labels, seeds, clips, videos)
    reconstructions = pretrain(question.bench, question.pretrainings)
    answers = use(question.bench, [*fresh(question), *of_encoders(question)])
    answers += [
        pixels(question.bench.faces[name], few, seed)
        for name in question.faces
        for few in question.labels
        for seed in range(seeds)
    ]
    write_rows(question.out / "budget.csv", answers)
    write_rows(question.out / "budget_reconstruction.csv", reconstructions)
    draw_budget(question.out / "budget.png", answers)
    said, rows = verdicts(answers), table(answers)
    settings = {"seeds": seeds, "clips": clips, "gains": GAINS, "verdicts": said}
    Result("budget", TITLE, settings, rows).publish(question.out, dict.fromkeys(rows[0], ""))
    print("\n".join(said))


def fresh(question: Asked) -> list[Use]:
    """The baselines that are trained, seeds outermost."""
    return [
        Use(row, name, few, seed)
        for seed in range(question.seeds)
        for name in question.faces
        for row in BASELINES
        for few in question.labels
    ]


def of_encoders(question: Asked) -> list[Use]:
    """All uses of all pre-trainings, seeds outermost."""
    return [
        Use(row, one.faces, few, one.seed, one)
        for one in question.pretrainings
        for row in USES
        for few in question.labels
    ]


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
    scratch, differences = (_of(answers, (faces, name, "", 0), labels) for name in (SCRATCH, PIXELS))
    budgets = sorted({a.clips for a in answers if (a.faces, a.variant) == (faces, variant)})
    found = {clips: _of(answers, (faces, row, variant, clips), labels) for clips in budgets}
    worst = {clips: min(gains(uars, scratch)) for clips, uars in found.items()}
    said = []
    for gain in GAINS:
        reached = [c for c in budgets if all(worst[later] >= gain for later in budgets if later >= c)]
        said.append(f"+{gain:g} from {reached[0]:,} clips" if reached else f"+{gain:g} at none")
    best = max(budgets, key=worst.__getitem__)
    plain = min(gains(found[best], differences))
    return f"{', '.join(said)} (worst seed after {best:,}: {worst[best]:+.1f}, over pixels {plain:+.1f})"
