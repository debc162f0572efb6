"""Selects a share of the training samples to validate on, with no person on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from maedfer.tasks import Task

DRAWS = 10
"""Random shares of the people to choose from, where there are no classes to stratify by."""


def validation_share(
    targets: np.ndarray, people: Sequence[str], share: float, task: Task, seed: int
) -> np.ndarray | None:
    """Returns which samples to validate on, bool (n,); None where no cut keeps every class in training.

    Classes are spread evenly over both sides, as far as people allow; the share is then the nearest of 1/2,
    1/3, 1/4 and so on. Of several cuts, the one whose share is nearest to `share` is taken.

    Args:
        targets: Targets of the samples, (n, K).
        people: Person (or source) of each sample, (n,): never on both sides.
        share: Share of the samples to select, above 0 and at most 0.5.
        task: Has classes to stratify by, or none.
        seed: Seed of the cut.
    """
    cuts = [cut for cut in _cuts(targets, people, share, task, seed) if _usable(targets, cut, task)]
    return min(cuts, key=lambda cut: abs(cut.sum() - share * len(cut)), default=None)


def _cuts(
    targets: np.ndarray, people: Sequence[str], share: float, task: Task, seed: int
) -> list[np.ndarray]:
    """Returns selections of whole people, each bool (n,)."""
    splitter: StratifiedGroupKFold | GroupShuffleSplit
    if task.is_single_label:
        splitter = StratifiedGroupKFold(round(1 / share), shuffle=True, random_state=seed)
    else:
        splitter = GroupShuffleSplit(DRAWS, test_size=share, random_state=seed)
    positions = np.arange(len(targets))
    try:
        with warnings.catch_warnings():  # of rare classes, which `_usable` checks
            warnings.simplefilter("ignore", UserWarning)
            splits = splitter.split(positions, targets.argmax(1), people)
            return [np.isin(positions, selected) for _, selected in splits]
    except ValueError:  # fewer people, or samples of every class, than sides
        return []


def _usable(targets: np.ndarray, selected: np.ndarray, task: Task) -> bool:
    """Checks that both sides have samples and that every class is among those to train on."""
    learnable = not task.has_classes or (targets[~selected] != 0).any(axis=0).all()
    return bool(selected.any() and not selected.all() and learnable)
