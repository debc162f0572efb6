"""The position of a run in its plan: numbers that a checkpoint keeps, the same on all ranks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Leg:
    """A stretch of an epoch dealt in one way.

    Attributes:
        world: Number of ranks.
        workers: Loader workers of each rank; 0 (the main process reads) is dealt like 1.
        batch: Samples in a rank's batch.
        window: Samples a worker holds to shuffle them.
        done: Batches of each rank that were trained in this leg.
    """

    world: int
    workers: int
    batch: int
    window: int
    done: int = 0

    @property
    def readers(self) -> int:
        """Readers of each rank."""
        return max(1, self.workers)

    @property
    def step(self) -> int:
        """Samples in the batches of all ranks together."""
        return self.world * self.batch

    def deals_like(self, other: "Leg") -> bool:
        """Returns whether both cut an order alike, so that one can continue where the other stopped."""
        return replace(self, workers=self.readers, done=0) == replace(other, workers=other.readers, done=0)

    def turns(self, reader: int, batches: int) -> int:
        """Returns how many of the first `batches` batches of a rank the reader makes: they take turns."""
        return len(range(reader, batches, self.readers))

    def share(self, samples: int, rank: int, reader: int) -> tuple[int, int]:
        """Returns start and end of the range of an order that a reader gets, a whole number of batches."""
        batches = samples // self.step
        before = rank * batches + sum(self.turns(earlier, batches) for earlier in range(reader))
        return before * self.batch, (before + self.turns(reader, batches)) * self.batch


@dataclass(frozen=True)
class Cursor:
    """The position of a run: the epoch, the visits carried into it, and its legs."""

    epoch: int = 0
    carried: tuple[int, ...] = ()
    legs: tuple[Leg, ...] = ()

    @property
    def done(self) -> int:
        """Batches of each rank trained in this epoch, over all legs."""
        return sum(leg.done for leg in self.legs)

    def state_dict(self) -> dict[str, Any]:
        """Returns plain lists and numbers, for a checkpoint."""
        legs = [[leg.world, leg.workers, leg.batch, leg.window, leg.done] for leg in self.legs]
        return {"epoch": self.epoch, "carried": list(self.carried), "legs": legs}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Cursor":
        """Builds the cursor that a state describes."""
        return cls(int(state["epoch"]), tuple(state["carried"]), tuple(Leg(*leg) for leg in state["legs"]))
