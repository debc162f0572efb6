"""What a question is asked about, checked before any work, and where its runs lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from maedfer.errors import UserError
from studies.cost import at_equal_operations
from studies.faces import MOST_LABELS, check_faces, make_faces
from studies.trials import TRACKS, Bench, Pretraining
from studies.variants import CLIPS_PER_STEP, VARIANTS, batch_of


@dataclass(frozen=True)
class Asked:
    """The flags of a question.

    Attributes:
        out: folder of all runs, tables and figures.
        faces: sets of faces.
        steps: lengths of pre-training.
        variants: recipes of pre-training.
        labels: labelled clips per class.
        seeds: repetitions.
        clips: unlabelled clips of a drawn set.
        videos: folder of real videos.
        equal_to: the variant whose operations all get, whatever their clips cost; None where all see as many.

    Raises:
        UserError: nothing asked for, something twice, or something that there is not.
    """

    out: Path
    faces: tuple[str, ...]
    steps: tuple[int, ...]
    variants: tuple[str, ...]
    labels: tuple[int, ...]
    seeds: int
    clips: int
    videos: str | None
    equal_to: str | None = None

    def __post_init__(self) -> None:
        for flag in ("faces", "steps", "variants", "labels"):
            values = getattr(self, flag)
            if not values or len(set(values)) < len(values):
                raise UserError(flag, f"{list(values)}: name one or more, each once")
        if min(*self.steps, self.seeds, self.clips) < 1:
            raise UserError(
                "steps",
                f"{list(self.steps)}, `seeds={self.seeds}` and `clips={self.clips}` must be 1 or more",
            )
        if min(self.labels) < 1 or max(self.labels) > MOST_LABELS:
            raise UserError(
                "labels", f"{list(self.labels)}: take 1 to {MOST_LABELS} labelled clips per class"
            )
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown:
            raise UserError(
                "variants", f"no recipe is called {', '.join(unknown)}: take {', '.join(VARIANTS)}"
            )
        check_faces(self.faces, self.videos)
        self._check_variants()

    def _check_variants(self) -> None:
        """Refuse what would be another thing than its name says.

        Raises:
            UserError: a recipe that changes nothing on a set, or a budget that is no whole steps of one.
        """
        for name in set(self.faces) & set(TRACKS):
            flag, value = TRACKS[name]
            same = [variant for variant in self.variants if flag in VARIANTS[variant]]
            if same:
                raise UserError("faces", f"{name} has {flag} {value} anyway: leave out {', '.join(same)}")
        for one in self.pretrainings:
            if one.clips % batch_of(one.variant):
                raise UserError(
                    "steps",
                    f"{one.steps}: {one.clips} clips are not a whole number of steps of '{one.variant}'",
                )

    @cached_property
    def bench(self) -> Bench:
        """The sets, made if need be, and the folders of the runs on them."""
        rooms = self.out / "faces"
        return Bench(
            self.out, {name: make_faces(rooms, name, self.clips, self.videos) for name in self.faces}
        )

    @property
    def budget(self) -> str:
        """The first length of pre-training, in words."""
        clips = f"{self.steps[0] * CLIPS_PER_STEP:,} clips"
        return f"the operations of {clips} of {self.equal_to}" if self.equal_to else clips

    @property
    def pretrainings(self) -> list[Pretraining]:
        """All pre-trainings, seeds outermost: whoever stops halfway has whole rounds."""
        runs = [
            Pretraining(faces, variant, steps, seed)
            for seed in range(self.seeds)
            for faces in self.faces
            for variant in self.variants
            for steps in self.steps
        ]
        return [at_equal_operations(one, self.equal_to) for one in runs] if self.equal_to else runs


def asked(
    out: str,
    faces: Sequence[str],
    steps: Sequence[int],
    variants: Sequence[str],
    labels: Sequence[int],
    seeds: int,
    clips: int,
    videos: str | None,
    equal_to: str | None = None,
) -> Asked:
    """The flags as they come from a command line."""
    lists = (tuple(faces), tuple(steps), tuple(variants), tuple(labels))
    return Asked(Path(out), *lists, seeds, clips, videos, equal_to)
