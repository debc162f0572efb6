"""The figure of pieces: what each changes, every seed a dot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.result import new_figure

from studies.answers import Answer, by_seed, gains
from studies.trials import LINEAR, PROBED, TUNED

COLOURS = {TUNED: "#2b6cb0", PROBED: "#38a169", LINEAR: "#38a169"}


def draw_pieces(
    path: Path, answers: Sequence[Answer], reference: str, title: str, label: Callable[[str], str]
) -> None:
    """One axis for each set of faces, one line of dots for each variant and use.

    Args:
        path: PNG file.
        answers: all seeds of everything.
        reference: the variant that the others are measured from.
        title: above the picture.
        label: of a variant's line.
    """
    sets = list(dict.fromkeys(answer.faces for answer in answers))
    variants = [v for v in dict.fromkeys(answer.variant for answer in answers) if v != reference]
    uses = list(dict.fromkeys(answer.row for answer in answers))
    figure = new_figure(3.8 * len(sets) + 3.2, 1.8 + 0.3 * len(variants))
    axes = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for axis, faces in zip(axes, sets, strict=True):
        for shift, use in zip((-0.14, 0.14), uses, strict=True):
            colour = COLOURS[use]
            for place, variant in enumerate(variants):
                values = gains(_of(answers, faces, use, variant), _of(answers, faces, use, reference))
                heights = [place + shift] * len(values)
                axis.plot(values, heights, "o", color=colour, alpha=0.45, markersize=4, linewidth=0)
                mean = sum(values) / len(values)
                named = {} if place else {"label": use}
                axis.plot(mean, place + shift, "|", color=colour, markersize=11, **named)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=f"{faces} faces", xlabel="points of UAR gained")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(variants)), [label(variant) for variant in variants])
    axes[0].set_ylim(len(variants) - 0.5, -0.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(title, fontsize=9, wrap=True)
    figure.savefig(path)


def _of(answers: Sequence[Answer], faces: str, use: str, variant: str) -> dict[int, float]:
    return by_seed(answers, lambda a: (a.faces, a.row, a.variant) == (faces, use, variant))
