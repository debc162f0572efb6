"""Loading weights so that nothing is silently left out: strict, with messages that name both shapes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

SHOWN = 4


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict that must match the model name by name and shape by shape.

    Args:
        model: changed in place.
        state: by the model's own names.
        source: where the weights come from, for the message.

    Raises:
        ValueError: names what is missing, left over or of another shape.
    """
    own = model.state_dict()
    shapes = [
        f"{name} is {tuple(state[name].shape)} in the weights, {tuple(own[name].shape)} in the model"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    problems = [
        _listed("other shapes", shapes),
        _listed("missing", own.keys() - state.keys()),
        _listed("not in the model", state.keys() - own.keys()),
    ]
    if any(problems):
        raise ValueError(
            f"{source} does not fit this {type(model).__name__}: {'; '.join(filter(None, problems))}. "
            "Check region_size, img_size, num_frames and the architecture"
        )
    model.load_state_dict(dict(state))


def _listed(what: str, names: list[str] | set[str]) -> str:
    """One problem with its first few names, the empty string when there are none."""
    shown = sorted(names)[:SHOWN]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {', '.join(shown)}{more}" if names else ""
