"""Upstream's correlated loader workers: the n-th clip of each draws what the n-th clip of the others draws.

Upstream fine-tunes with workers that are forked with one and the same state of numpy, which gives the start
of a clip, its flip and RandAugment's choice of operations. Crop box, strengths and erasing come from states
of their own. Departure: upstream's workers drift apart, as a draw from another range or a clip too short for
one may use up more or less of the state; here they never do.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SharedDraws:
    """Names the draws that the workers of a rank have in common.

    Attributes:
        rank: The rank.
        workers: Its loader workers.
    """

    rank: int
    workers: int

    def name(self, batch: int, place: int) -> tuple[str | int, ...]:
        """A name for a sample at a place of a batch: batches go round the workers, and a round shares it."""
        return "worker's sample", self.rank, batch // self.workers, place
