"""The position of a run as a checkpoint keeps it: the cursor, and what it is a position in."""

from collections.abc import Mapping
from typing import Any

from maedfer.data.plan import Cursor, EpochPlan


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


def check_position(cursor: Cursor, batch: Mapping[str, Any]) -> None:
    """Find a training step that does not move the cursor on.

    Raises:
        RuntimeError: this is not the batch at the cursor, so a checkpoint would lie about the position.
    """
    if (batch["epoch"], batch["batch"]) != (cursor.epoch, cursor.done):
        raise RuntimeError(
            f"batch {batch['batch']} of epoch {batch['epoch']} is trained, but the position is batch "
            f"{cursor.done} of epoch {cursor.epoch}: a training step calls consumed(batch) once"
        )
