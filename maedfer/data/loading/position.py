"""The position of a run as a checkpoint keeps it, checked against the plan that takes it up.

The position moves by what was trained, not by what workers have read ahead: the LightningModule calls the
data module's `consumed(batch)` in its training step. It is the same on every rank, so one copy in the
checkpoint serves all.
"""

from collections.abc import Mapping
from typing import Any

from maedfer.data.loading.batch import ClipBatch
from maedfer.data.loading.cursor import Cursor
from maedfer.data.loading.epoch_plan import EpochPlan
from maedfer.errors import UserError


def position_state(plan: EpochPlan, cursor: Cursor) -> dict[str, Any]:
    """Returns a position as plain lists and numbers."""
    table = plan.table
    shards = {"fingerprint": table.fingerprint, "samples": table.samples, "choice": plan.choice}
    return {"cursor": cursor.state_dict(), "seed": plan.seed, "shards": shards}


def position_from(state: Mapping[str, Any], plan: EpochPlan, shards: str) -> Cursor:
    """Returns the cursor of a state, for a plan of the same samples.

    Raises:
        UserError: the shards, the seed or the chosen samples are not those the state was made with.
    """
    table, saved = plan.table, state["shards"]
    if saved["fingerprint"] != table.fingerprint:
        raise UserError(
            "shards",
            f"{shards} has {table.samples} samples, but the checkpoint was made on other shards with "
            f"{saved['samples']}: resume with those, or start a new run with `init_from`",
        )
    if state["seed"] != plan.seed:
        raise UserError("seed", f"the run began with {state['seed']}: resume with it, not {plan.seed}")
    if saved.get("choice") != plan.choice:  # checkpoints older than the choice have all samples
        raise UserError(
            None,
            f"the run began with other samples of these shards, not these {plan.samples}: resume with its "
            "`fold`, `val_share`, `labels_per_class`, `skip_unlabelled` and `official`, or start a new run "
            "with `init_from`",
        )
    return Cursor.from_state_dict(state["cursor"])


def check_position(cursor: Cursor, batch: ClipBatch) -> None:
    """Finds a training step that does not move the cursor on.

    Raises:
        RuntimeError: this is not the batch at the cursor, so a checkpoint would hold a wrong position.
    """
    if (batch.epoch, batch.batch) != (cursor.epoch, cursor.done):
        raise RuntimeError(
            f"batch {batch.batch} of epoch {batch.epoch} is trained, but the position is batch "
            f"{cursor.done} of epoch {cursor.epoch}: a training step calls consumed(batch) once"
        )
