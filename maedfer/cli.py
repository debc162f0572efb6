"""Runs a verb: parses its flags, calls its function, and turns the outcome into an exit code.

The signature and the docstring of a function are its flags and help. Flags may be written with `-` or `_`
and are never abbreviated; a boolean one needs no value. Wrong input (`UserError`, `FileNotFoundError`)
becomes one line and exit code 2, with parameters spelt as flags. Any other exception is a bug: traceback and
exit code 1.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from docstring_parser import parse as parse_docstring

from maedfer.errors import UserError
from maedfer.parsing import Flags, Parser, parse, with_values
from maedfer.verbs import VERBS, Verb

TRAINING_FLAGS = ("--config", "--run", "--resume", "--init-from")
"""Flags of all verbs that train, for errors before their parser exists."""


def run(name: str, args: list[str]) -> int:
    """Runs a verb with the words after it and returns the exit code."""
    verb = VERBS[name]
    call = _train if verb.trains else _call
    known = (*args, *(TRAINING_FLAGS if verb.trains else ()))
    return report_errors(f"maedfer {name}", known, lambda: call(verb, args))


def report_errors(program: str, args: Sequence[str], call: Callable[[], int]) -> int:
    """Calls a function and turns its errors into messages and exit codes: 2, 130 (Ctrl-C) or 1 (a bug)."""
    with Flags(args).active() as flags:
        try:
            return call()
        except (UserError, FileNotFoundError) as error:
            print(f"{program}: {flags.describe(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stop:
            print(f"{program}: {str(stop) or 'stopped'}", file=sys.stderr)
            return 130
        except Exception:
            traceback.print_exc()
            return 1


def _train(verb: Verb, args: list[str]) -> int:
    return int(_import(verb)(with_values(args, verb.switches)) or 0)


def _call(verb: Verb, args: list[str]) -> int:
    """Calls a function with its parsed arguments and prints what it returns; 1 where that is not `ok`."""
    function = _import(verb)
    parameters = _parameters(function).values()
    switches = [p.name for p in parameters if p.annotation in (bool, bool | None)]
    values = parse(function_parser(verb, function), with_values(args, switches))
    outcome = function(**values.as_dict())
    if outcome is not None:
        print(outcome)
    return 0 if getattr(outcome, "ok", True) else 1


def _import(verb: Verb) -> Callable[..., Any]:
    """Imports the function of a verb; a missing library of an extra is reported with the remedy."""
    module, _, function = verb.target.partition(":")
    try:
        imported: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return imported
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "maedfer":
            raise
        raise UserError(None, f"needs {error.name}: pip install 'maedfer[train]'") from error


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function, eval_str=True).parameters)


def function_parser(verb: Verb, function: Callable[..., Any]) -> Parser:
    """Returns a parser whose flags are the parameters of a function; the positional one takes bare words."""
    name = verb.positional
    documented = parse_docstring(function.__doc__ or "")
    parser = Parser(prog=f"maedfer {verb.name}", description=documented.description)
    parser.add_function_arguments(function, as_group=False, skip={name} if name else set())
    if name:
        several = _parameters(function)[name].annotation == list[str]
        options: dict[str, Any] = {"nargs": "+"} if several else {}
        options["help"] = next((p.description for p in documented.params if p.arg_name == name), None)
        parser.add_argument(name, type=str, metavar=name.upper(), **options)
    return parser
