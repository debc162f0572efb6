"""The position of a run: where it stands in its plan, and what a checkpoint keeps of it.

The position moves by what was trained, not by what workers have read ahead: the LightningModule calls
`consumed(batch)` in its training step. It is the same on every rank, so one copy in the checkpoint serves
all.
"""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.trainer.states import TrainerFn

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.epoch_plan import Cursor, EpochPlan


class RunPosition:
    """The part of a data module that keeps the position; it has a `trainer`, a `plan` and `shards` besides.

    Attributes:
        cursor: The position.
    """

    cursor: Cursor

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Lightning's hook before each batch: a training step that forgot `consumed` is found at the next."""
        if self.trainer.training:
            check_position(self.cursor, batch)
        return batch

    def consumed(self, batch: ClipBatch) -> None:
        """Move the position past a batch; called in each training step, on every rank.

        Raises:
            RuntimeError: this is not the batch at the cursor, so a checkpoint would lie about the position.
        """
        check_position(self.cursor, batch)
        self.cursor = self.plan.advance(self.cursor)

    def state_dict(self) -> dict[str, Any]:
        """The position, and what it is a position in."""
        return position_state(self.plan, self.cursor)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the position of a checkpoint (only to train on: an evaluation has none).

        Raises:
            ValueError: shards, seed or training samples are not those the checkpoint was made with.
        """
        if self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING:
            return
        self.cursor = position_from(state_dict, self.plan, self.shards)


def position_state(plan: EpochPlan, cursor: Cursor) -> dict[str, Any]:
    """The state of a position, plain lists and numbers."""
    table = plan.table
    shards = {"fingerprint": table.fingerprint, "samples": table.samples, "choice": plan.choice}
    return {"cursor": cursor.state_dict(), "seed": plan.seed, "shards": shards}


def position_from(state: Mapping[str, Any], plan: EpochPlan, shards: str) -> Cursor:
    """The cursor of a state, for a plan of the same samples.

    Raises:
        ValueError: the shards, the seed or the chosen samples are not those the state was made with.
    """
    table, saved = plan.table, state["shards"]
    if saved["fingerprint"] != table.fingerprint:
        raise ValueError(
            f"the checkpoint was made on other shards ({saved['samples']} samples; --data.shards "
            f"{shards} has {table.samples}): resume with those, or start a new run with --init-from"
        )
    if state["seed"] != plan.seed:
        raise ValueError(f"the run began with seed {state['seed']}: resume with it, not {plan.seed}")
    if saved.get("choice") != plan.choice:  # checkpoints older than the choice have all samples
        raise ValueError(
            f"the run began with another selection of the shards' samples, not these {plan.samples}: resume "
            "with its --data.fold, --data.val_share, --data.labels_per_class, --data.skip_unlabelled and "
            "--official, or start a new run with --init-from"
        )
    return Cursor.from_state_dict(state["cursor"])


def check_position(cursor: Cursor, batch: ClipBatch) -> None:
    """Find a training step that does not move the cursor on.

    Raises:
        RuntimeError: this is not the batch at the cursor, so a checkpoint would lie about the position.
    """
    if (batch.epoch, batch.batch) != (cursor.epoch, cursor.done):
        raise RuntimeError(
            f"batch {batch.batch} of epoch {batch.epoch} is trained, but the position is batch "
            f"{cursor.done} of epoch {cursor.epoch}: a training step calls consumed(batch) once"
        )
