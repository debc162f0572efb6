"""Loads weights strictly, with messages that name what is missing, left over or of another shape."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from maedfer.errors import UserError

SHOWN = 4


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads a state dict that must match the model name by name and shape by shape.

    Args:
        model: changed in place.
        state: by the model's own names.
        source: where the weights come from, for the message.

    Raises:
        UserError: names what is missing, left over or of another shape.
    """
    refuse_misfit(model, {name: tuple(tensor.shape) for name, tensor in state.items()}, source)
    model.load_state_dict(dict(state))


def refuse_misfit(model: nn.Module, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Refuses weights that do not match the model name by name and shape by shape.

    Args:
        model: not changed.
        shapes: of the weights, by the model's own names.
        source: where the weights come from, for the message.

    Raises:
        UserError: names what is missing, left over or of another shape.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    other = [
        f"{name} is {shapes[name]} in the weights, {own[name]} in the model"
        for name in own.keys() & shapes.keys()
        if shapes[name] != own[name]
    ]
    problems = [
        _listed("other shapes", other),
        _listed("missing", own.keys() - shapes.keys()),
        _listed("not in the model", shapes.keys() - own.keys()),
    ]
    if any(problems):
        raise UserError(
            None,
            f"{source} does not fit this {type(model).__name__}: {'; '.join(filter(None, problems))}. "
            "Check region_size, img_size, num_frames and the architecture",
        )


def _listed(problem: str, names: list[str] | set[str]) -> str:
    """Returns a problem with its first few names, or an empty string when there are none."""
    shown = sorted(names)[:SHOWN]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{problem}: {', '.join(shown)}{more}" if names else ""
