"""Constructor arguments that come from a recipe or a `config.json`, checked before a model is built of them.

Python itself tells a wrong name without the right one, and a wrong type only where the value is used.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, get_type_hints


def check_arguments(model: type, arguments: Mapping[str, Any], what: str) -> None:
    """Refuse arguments that a class does not take; None stands for the default of any.

    Args:
        model: its constructor's annotations are among `KINDS`.
        arguments: by name.
        what: how the user gave them, for messages.

    Raises:
        ValueError: an unknown name (the nearest are listed), or a value of another type.
    """
    hints = get_type_hints(model.__init__)
    names = list(inspect.signature(model).parameters)
    for name, value in arguments.items():
        if name not in names:
            near = difflib.get_close_matches(name, names) or names
            raise ValueError(f"{what}: {model.__name__} takes no {name!r}; did you mean {', '.join(near)}?")
        words, fits = KINDS[hints[name]]
        if value is not None and not fits(value):
            raise ValueError(f"{what}: {name}={value!r} must be {words}")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_whole, value))


KINDS: dict[Any, tuple[str, Callable[[object], bool]]] = {
    int: ("a whole number", _is_whole),
    float: ("a number", _is_number),
    str: ("a word", _is_word),
    bool: ("true or false", _is_flag),
    bool | None: ("true or false", _is_flag),
    Sequence[int]: ("a list of whole numbers, like [2, 5, 10]", _is_list),
}
"""Annotation -> its words in a message, and whether a value fits it."""
