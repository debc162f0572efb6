"""Constructor arguments of the encoders, and the check of those that come from a recipe or a `config.json`.

Python itself reports an unknown name without the right one, and a wrong type only where the value is used.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, get_type_hints

from maedfer.errors import UserError

HEAD_ARGS = ("num_classes", "pool", "fc_norm")
"""Arguments of the head, which a saved model has of its own; see `VideoEncoder.head_args`."""


@dataclass(frozen=True, kw_only=True)
class EncoderArgs:
    """Constructor arguments of every encoder; the defaults have the width and depth of the published one.

    Attributes:
        img_size: side of the square frames in pixels.
        num_frames: frames of a clip.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
        in_chans: colour channels.
        num_classes: classes of the head; 0 builds an encoder.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLPs over `embed_dim`.
        pool: name of the pooling, one of `pooling.POOLINGS`.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0 in the first.
        drop_rate: dropout before the head.
        positions: `1d` (upstream) or `3d`.
        fc_norm: normalise after pooling instead of before; by default exactly when there are classes and the
            pooling is not learned.
        init_scale: factor on the initial weights of a classifier's head.
    """

    img_size: int = 160
    num_frames: int = 16
    patch_size: int = 16
    tubelet_size: int = 2
    in_chans: int = 3
    num_classes: int = 0
    embed_dim: int = 512
    depth: int = 16
    num_heads: int = 8
    mlp_ratio: float = 4.0
    pool: str = "region"
    drop_path_rate: float = 0.0
    drop_rate: float = 0.0
    positions: str = "1d"
    fc_norm: bool | None = None
    init_scale: float = 0.001

    def region(self, grid: tuple[int, int, int]) -> tuple[int, int, int]:
        """Returns the tokens (t, h, w) that attend together: the whole grid (t, h, w)."""
        return grid


def check_arguments(model: str, arguments: Mapping[str, Any], kind: type[EncoderArgs], source: str) -> None:
    """Refuses arguments that an encoder does not take; None stands for the default of any.

    Args:
        model: name of the encoder's class, for messages.
        arguments: by name.
        kind: what the encoder takes; its annotations are among `KINDS`.
        source: how the user gave the arguments, for messages.

    Raises:
        UserError: an unknown name (the nearest are listed), or a value of another type.
    """
    names, hints = [field.name for field in fields(kind)], get_type_hints(kind)
    for name, value in arguments.items():
        if name not in names:
            near = difflib.get_close_matches(name, names) or names
            raise UserError(
                "model_args", f"{source}: {model} takes no {name!r}; did you mean {', '.join(near)}?"
            )
        words, expected = KINDS[hints[name]]
        if value is not None and not _fits(value, expected):
            raise UserError("model_args", f"{source}: {name}={value!r} must be {words}")


def _fits(value: object, kind: Any) -> bool:
    """Returns whether a value is of a kind of `KINDS`; true and false are not numbers."""
    if kind is Sequence:
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and all(_fits(v, Integral) for v in value)
        )
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


KINDS: dict[Any, tuple[str, Any]] = {
    int: ("a whole number", Integral),
    float: ("a number", Real),
    str: ("a word", str),
    bool: ("true or false", bool),
    bool | None: ("true or false", bool),
    Sequence[int]: ("a list of whole numbers, like [2, 5, 10]", Sequence),
}
"""Annotation -> its words in a message, and the type of a value that fits it."""
