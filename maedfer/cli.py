"""The verbs, wired to the functions that do the work. A function's signature and docstring are its flags and
help.

Nothing is decided here. Wrong input, which the functions tell by `ValueError` or `FileNotFoundError`, becomes
one line and exit code 2. Flags may be written with `-` or `_`, a boolean one without its value, none
abbreviated.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentError

from maedfer.parsing import Parser, parse, with_values

FUNCTIONS = {
    "demo": ("maedfer.demo.command", "demo", None),
    "synthesize": ("maedfer.data.synthetic.synthesize", "synthesize", None),
    "pack": ("maedfer.data.pack.command", "pack", "sources"),
    "verify": ("maedfer.data.shards.verify", "verify", "folder"),
    "info": ("maedfer.data.shards.info", "info", "folder"),
    "merge": ("maedfer.data.pack.merge", "merge", "folders"),
    "reconstruct": ("maedfer.training.pretraining.reconstruct", "reconstruct", None),
    "evaluate": ("maedfer.training.finetuning.evaluate", "evaluate", None),
    "compare": ("maedfer.report.compare", "compare", "runs"),
    "convert": ("maedfer.models.convert", "convert", "file"),
    "consolidate": ("maedfer.training.consolidate", "consolidate", "run"),
}
"""Verb -> module, function, and the parameter that is given without a flag."""

TRAINING = {
    "pretrain": ("maedfer.training.pretraining.command", "pretrain"),
    "finetune": ("maedfer.training.finetuning.command", "finetune"),
}
"""Verbs that read a recipe with LightningCLI: module and function of the arguments."""

TRAINING_BOOLEANS = ("resume", "freeze_encoder", "official")
"""Flags of those verbs that need no value."""


def run(verb: str, args: list[str]) -> int:
    """Run a verb with its arguments; returns the exit code."""
    try:
        if verb in TRAINING:
            module, function = TRAINING[verb]
            return int(_import(verb, module, function)(with_values(args, TRAINING_BOOLEANS)) or 0)
        return run_function(verb, args)
    except (ValueError, OSError, ArgumentError) as error:
        # The data module names its flags as the training verbs have them.
        message = one_line(error) if verb in TRAINING else one_line(error).replace("--data.", "--")
        print(f"maedfer {verb}: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"maedfer {verb}: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130


def run_function(verb: str, args: list[str]) -> int:
    """Call a verb's function with its parsed arguments and print what it returns; 1 when that is not `ok`."""
    module, name, positional = FUNCTIONS[verb]
    function = _import(verb, module, name)
    parser = function_parser(verb, function, positional)
    parameters = inspect.signature(function).parameters.values()
    booleans = [p.name for p in parameters if p.default is False or p.annotation == "bool | None"]
    values = parse(parser, with_values(args, booleans))
    outcome = function(**values.as_dict())
    if outcome is not None:
        print(outcome)
    return 0 if getattr(outcome, "ok", True) else 1


def _import(verb: str, module: str, name: str) -> Callable[..., Any]:
    """Import what a verb needs; a missing library of an extra is wrong input, with the remedy."""
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "maedfer":
            raise
        raise ValueError(f"needs {error.name}: pip install 'maedfer[train]'") from error


def function_parser(verb: str, function: Callable[..., Any], positional: str | None) -> Parser:
    """A parser whose flags are the parameters of a function; `positional` takes one or several bare words."""
    parser = Parser(prog=f"maedfer {verb}")
    skip = {positional} if positional else set()
    parser.add_function_arguments(function, skip=skip)
    if positional:
        several = inspect.signature(function).parameters[positional].annotation in (list[str], "list[str]")
        options = {"nargs": "+"} if several else {}
        parser.add_argument(positional, type=str, help=parameter_help(function, positional), **options)
    return parser


def parameter_help(function: Callable[..., Any], name: str) -> str:
    """The docstring line of one parameter."""
    from docstring_parser import parse as parse_docstring

    found = [
        p.description or "" for p in parse_docstring(function.__doc__ or "").params if p.arg_name == name
    ]
    return " ".join(found)


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks, and without the number of an error of the system."""
    named = isinstance(error, OSError) and error.strerror and not error.filename
    return " ".join(str(error.strerror if named else error).split()) or type(error).__name__
