"""A share of the training samples to choose the best epoch on, with nobody on both sides of the cut."""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from maedfer.tasks import Task

DRAWS = 10
"""Random shares of the people to choose from, where there are no classes to stratify by."""


def held_out_share(
    targets: np.ndarray, people: Sequence[str], share: float, task: Task, seed: int
) -> np.ndarray | None:
    """Which samples to hold out, bool (n,); None where no cut keeps every class in training.

    Classes are spread evenly over both sides, as far as people allow; the share is then the nearest of 1/2,
    1/3, 1/4 and so on. Of several cuts, the one whose held-out side is nearest to the wanted share.

    Args:
        targets: Targets of the samples, (n, K).
        people: Who (or which source) each sample shows, (n,): never on both sides.
        share: Wanted share, above 0 and at most 0.5.
        task: What is learnt.
        seed: Seed of the cut.
    """
    usable = [held for held in _cuts(targets, people, share, task, seed) if _usable(targets, held, task)]
    return min(usable, key=lambda held: abs(held.sum() - share * len(held)), default=None)


def _cuts(
    targets: np.ndarray, people: Sequence[str], share: float, task: Task, seed: int
) -> list[np.ndarray]:
    """Ways to hold out whole people, each bool (n,)."""
    if task.is_single_label:
        splitter = StratifiedGroupKFold(round(1 / share), shuffle=True, random_state=seed)
    else:
        splitter = GroupShuffleSplit(DRAWS, test_size=share, random_state=seed)
    places = np.arange(len(targets))
    try:
        with warnings.catch_warnings():  # of rare classes, which `_usable` looks at
            warnings.simplefilter("ignore", UserWarning)
            return [np.isin(places, held) for _, held in splitter.split(places, targets.argmax(1), people)]
    except ValueError:  # fewer people, or samples of every class, than sides
        return []


def _usable(targets: np.ndarray, held: np.ndarray, task: Task) -> bool:
    """Whether both sides have samples, and every class is among those to train on."""
    learnable = not task.has_classes or (targets[~held] != 0).any(axis=0).all()
    return bool(held.any() and not held.all() and learnable)
