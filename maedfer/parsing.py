"""How flags are read: never abbreviated, spelt with `-` or `_`; a wrong one is told the nearest right one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace


class Parser(ArgumentParser):
    """A parser that raises instead of leaving, takes no abbreviated flags, and shows them with `-`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "exit_on_error": False, "allow_abbrev": False})

    def format_help(self) -> str:
        """The help text, flags spelt as the README spells them."""
        return re.sub(r"--[a-z_]+(?![\w.])", lambda flag: flag[0].replace("_", "-"), super().format_help())


def parse(parser: ArgumentParser, args: list[str]) -> Namespace:
    """Parse, and turn every complaint of the parser into one line that names the nearest flag or key.

    Raises:
        ValueError: an unknown flag or configuration key, or a value that does not fit.
    """
    try:
        return parser.parse_args(args)
    except ArgumentError as error:
        raise ValueError(explain(str(error), known_names(parser))) from error


UNKNOWN = (
    r"[Kk]ey '?\"?([\w.]+)'?\"? is not expected",
    r"nrecognized arguments: --([\w.-]+)",
    r"Group '([\w.]+)' does not accept option '([\w.]+)'",
    r"Option '([\w.]+)' is not accepted",
)
"""What the parser says of a flag or key that does not exist."""


def explain(message: str, names: Iterable[str]) -> str:
    """Add the nearest known names to a message about an unknown flag or key."""
    names = sorted(names)
    found = next((match for pattern in UNKNOWN if (match := re.search(pattern, message))), None)
    if found is None:
        return message
    word = ".".join(found.groups()).replace("-", "_")
    tail = word.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(word, names, n=2, cutoff=0.7)
    near += [name for name in names if name.rsplit(".", 1)[-1] == tail and name not in near]
    hint = f"; did you mean {' or '.join(f'--{name}' for name in near[:3])}?" if near else ""
    return f"there is no setting {word!r}{hint}"


def known_names(parser: ArgumentParser) -> set[str]:
    """All dotted names that a parser knows."""
    return {a.dest for a in parser._actions if a.dest not in ("help", "==SUPPRESS==")}


def with_values(args: list[str], booleans: Iterable[str]) -> list[str]:
    """Spell flags with `_`, and boolean ones as one word with their value, `true` where none is given."""
    booleans, words, result = set(booleans), list(args), []
    while words:
        flag, equals, value = words.pop(0).partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--") or not name:
            result.append(flag + equals + value)
        elif name in booleans and not equals:
            given = bool(words) and words[0].lower() in ("true", "false")
            result.append(f"--{name}={words.pop(0).lower() if given else 'true'}")
        else:
            result.append(f"--{name}{equals}{value}")
    return result
