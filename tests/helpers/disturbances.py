"""Callbacks that the tests put into real runs: they spoil losses, kill a run, and write down the weights."""

import hashlib
import json
from pathlib import Path

from pytorch_lightning import Callback

from maedfer.lightning_internals import is_accumulating


class Disturb(Callback):
    """Spoils the loss of some steps of one rank; each rank writes a digest of its weights for every step.

    Args:
        spoilt: steps whose first micro-batch is spoilt.
        late: steps whose last micro-batch is spoilt.
        rank: the rank on which they are.
        out: folder for `rank<r>.json`, digests of the weights before the first step and after each; none
            without it.
        die_after: step after which the run fails; 0 for none.
    """

    def __init__(
        self,
        spoilt: list[int],
        late: list[int] | None = None,
        rank: int = 0,
        out: str | None = None,
        die_after: int = 0,
    ) -> None:
        self._spoilt, self._late, self._rank, self._out = spoilt, late or [], rank, out
        self._die_after = die_after
        self._step, self._is_bad = -1, False
        self._digests: list[str] = []

    def on_train_start(self, trainer, pl_module):
        self._note(trainer, pl_module)
        pl_module.mae.register_forward_hook(self._spoil)

    def _spoil(self, mae, arguments, output):
        return output._replace(loss=output.loss * float("nan")) if self._is_bad else output

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        step = trainer.global_step + 1
        is_first, self._step = step != self._step, step
        is_last = not is_accumulating(trainer)
        asked = (is_first and step in self._spoilt) or (is_last and step in self._late)
        self._is_bad = asked and trainer.global_rank == self._rank

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._is_bad = False  # pictures and held-out clips come next
        if trainer.global_step == len(self._digests):
            self._note(trainer, pl_module)
        if self._die_after and trainer.global_step == self._die_after:
            raise ValueError("killed by the test")

    def _note(self, trainer, module):
        weights = b"".join(p.detach().numpy().tobytes() for p in module.parameters())
        self._digests.append(hashlib.sha256(weights).hexdigest())
        if self._out is not None:
            path = Path(self._out) / f"rank{trainer.global_rank}.json"
            path.write_text(json.dumps(self._digests))


def disturbed(**options):
    """The words of a command line that put `Disturb` into a run."""
    return (
        "--trainer.callbacks",
        json.dumps([{"class_path": "helpers.disturbances.Disturb", "init_args": options}]),
    )
