"""Which tokens of a pre-trained encoder are best pooled: of regions, of tubelets, of both, or by a query?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from maedfer.errors import UserError
from maedfer.models.pooling import POOLINGS
from studies.answers import Answer, pretrain, use
from studies.asked import Asked, asked
from studies.pieces import publish
from studies.trials import LINEAR, TUNED, Use
from studies.variants import DEMO

ROWS = (TUNED, LINEAR)
"""Uses in which the encoder decides; an attentive probe is its own pooling."""


def pooling(
    out: str = "runs/study",
    faces: Sequence[str] = ("clean", "messy"),
    steps: int = 700,
    pools: Sequence[str] = ("region", "token", "all", "attentive"),
    labels: int = 16,
    seeds: int = 3,
    clips: int = 12_000,
    videos: str | None = None,
) -> None:
    """Every pooling of the same encoders, fine-tuned and probed.

    The paper pools regions. Only local tokens are reconstructed, so that the last representative tokens learn
    by what follows alone.

    Args:
        out: folder of all runs, the table and the figure.
        faces: sets: `clean`, `diverse`, `messy`, `real`.
        steps: length of pre-training, of 16 clips a step.
        pools: values of `--model.pool`; the others are measured from the first.
        labels: labelled clips per class.
        seeds: repetitions, of pre-training and of what follows.
        clips: unlabelled clips of a drawn set.
        videos: folder of face videos, for `real`.

    Raises:
        UserError: nothing asked for, an unknown name, or a run that failed.
    """
    unknown = set(pools) - POOLINGS.keys()
    if unknown or len(set(pools)) < max(1, len(pools)):
        raise UserError("pools", f"{list(pools)}: name some of {', '.join(POOLINGS)}, each once")
    question = asked(out, faces, (steps,), (DEMO,), (labels,), seeds, clips, videos)
    pretrain(question.bench, question.pretrainings)
    publish("pooling", question, name_of(pools[0]), answers_of(question, pools))


def answers_of(question: Asked, pools: Sequence[str]) -> list[Answer]:
    """All uses of all encoders with all poolings; the variant of an answer is its pooling."""
    encoders, (labels,) = question.pretrainings, question.labels
    uses = [
        Use(row, one.faces, labels, one.seed, one, pool) for one in encoders for row in ROWS for pool in pools
    ]
    answers = use(question.bench, uses)
    return [replace(answer, variant=name_of(one.pool)) for answer, one in zip(answers, uses, strict=True)]


def name_of(pool: str) -> str:
    """A pooling as a line of the table."""
    return f"{pool} pooling"
