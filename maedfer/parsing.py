"""Parses command-line flags, and spells parameters of Python functions as flags.

Abbreviations are rejected, `-` and `_` are interchangeable, and the error of an unknown flag suggests the
closest valid one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from maedfer.errors import UserError


class Parser(ArgumentParser):
    """A parser that raises instead of exiting, accepts no abbreviations, and shows flags with `-`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "exit_on_error": False, "allow_abbrev": False})

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Returns the help text, with flags spelt as in the documentation."""
        text = super().format_help(*args, **kwargs)
        return re.sub(r"--[a-z_]+(?![\w.])", lambda flag: flag[0].replace("_", "-"), text)


def parse(parser: ArgumentParser, args: list[str]) -> Namespace:
    """Parses the words of a command line.

    Raises:
        UserError: an unknown flag or configuration key (the closest ones are named), or a value of another
            type.
    """
    flags = _active.get()
    if flags is not None:
        flags.learn(parser)
    try:
        return parser.parse_args(args)
    except ArgumentError as error:
        raise UserError(None, _explain(str(error), flags_of(parser))) from error


UNKNOWN = (
    re.compile(r"unrecognized arguments: --([\w.-]+)"),
    re.compile(r"Group '([\w.]+)' does not accept option '([\w.]+)'"),
    re.compile(r"Option '([\w.]+)' is not accepted"),
)
"""Sentences by which jsonargparse reports a flag or key that does not exist. `tests/test_cli.py` tests them
against the installed version: where one no longer matches, only the suggestion is lost."""


WRONG_VALUE = re.compile(r"Parser key \"([\w.]+)\":\s+")
"""Begins jsonargparse's report of a value of another type; without a match it is shown as it is."""


REQUIRED = re.compile(r"the following arguments are required: (.+)")
"""Sentence by which argparse reports arguments without a default that are missing."""


def unknown_name(message: str) -> str | None:
    """Returns the dotted name that a message of jsonargparse calls unknown, None for other messages."""
    found = next((match for pattern in UNKNOWN if (match := pattern.search(message))), None)
    return ".".join(found.groups()).replace("-", "_") if found else None


def _explain(message: str, names: Mapping[str, str]) -> str:
    """Adds the closest known names to a message about an unknown flag or key, and spells required flags."""
    if required := REQUIRED.search(message):
        missing = ", ".join(names.get(name, name) for name in required[1].split(", "))
        return f"missing: {missing} (see --help)"
    unknown = unknown_name(message)
    if unknown is None:
        message = WRONG_VALUE.sub(lambda match: f"{names.get(match[1], match[1])}: ", message)
        return re.sub(r"<class '(\w+)'>|typing\.", r"\1", message)
    tail = unknown.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(unknown, names, n=2, cutoff=0.7)
    near += [name for name in names if name.rsplit(".", 1)[-1] == tail and name not in near]
    hint = f"; did you mean {' or '.join(f'--{name}' for name in near[:3])}?" if near else ""
    return f"there is no setting {unknown!r}{hint}"


def flags_of(parser: ArgumentParser) -> dict[str, str]:
    """Returns all dotted names that a parser accepts and how each is written, the least nested ones first."""
    actions = [a for a in parser._actions if a.dest not in ("help", "==SUPPRESS==") and " " not in _word(a)]
    actions.sort(key=lambda action: (action.dest.count("."), action.dest))
    return {a.dest: _spell(a.dest) if a.option_strings else _word(a) for a in actions}


def _word(action: Any) -> str:
    """The flag of an action, or the placeholder of a positional one. That of a linked value has spaces."""
    return str(action.option_strings[0] if action.option_strings else action.dest.upper())


def _spell(name: str) -> str:
    return f"--{name}" if "." in name else f"--{name.replace('_', '-')}"


class Flags:
    """Spells the parameters in error messages as the flags of the verb that is running.

    Known are the flags of the first parser that the verb uses. For errors before that, the flags that were
    typed.

    Args:
        args: the words after the verb.
    """

    def __init__(self, args: Sequence[str]) -> None:
        typed = [word[2:].partition("=")[0].replace("-", "_") for word in args if word.startswith("--")]
        self._spelt = {name.rsplit(".", 1)[-1]: _spell(name) for name in typed}
        self._parsed = False

    @contextmanager
    def active(self) -> Iterator[Flags]:
        """Lets `parse` add the flags of its parser while the block runs."""
        token = _active.set(self)
        try:
            yield self
        finally:
            _active.reset(token)

    def learn(self, parser: ArgumentParser) -> None:
        """Takes the flags of a parser, unless another one came first."""
        if self._parsed:
            return
        self._parsed = True
        self._spelt = {}
        for name, flag in flags_of(parser).items():
            self._spelt.setdefault(name.rsplit(".", 1)[-1], flag)

    def describe(self, error: UserError | FileNotFoundError) -> str:
        """Returns the message of an error in one line, with the names of parameters as flags.

        These are the parameter of a `UserError` and, in any message, names between backticks, also with a
        value as in `crop=none`.
        """
        if not isinstance(error, UserError):
            text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        elif error.parameter is None:
            text = error.message
        else:
            name = error.parameter
            unknown = name if self._parsed else _spell(name)
            text = f"{self._spelt.get(name, unknown)}: {error.message}"
        return " ".join(re.sub(r"`(\w+)(?:=([^`\s]+))?`", self._spell_match, text).split())

    def _spell_match(self, match: re.Match[str]) -> str:
        name, value = match.groups()
        flag = self._spelt.get(name)
        return match[0] if flag is None else flag if value is None else f"{flag} {value}"


_active: ContextVar[Flags | None] = ContextVar("flags", default=None)
"""The flags of the verb that is running."""


def with_values(args: list[str], switches: Iterable[str]) -> list[str]:
    """Spells flags with `_`, and switches as one word with their value, `true` where none is given."""
    switches, words, result = set(switches), list(args), []
    while words:
        flag, equals, value = words.pop(0).partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--") or not name:
            result.append(flag + equals + value)
        elif name in switches and not equals:
            given = bool(words) and words[0].lower() in ("true", "false")
            result.append(f"--{name}={words.pop(0).lower() if given else 'true'}")
        else:
            result.append(f"--{name}{equals}{value}")
    return result
