"""Prepares the words of a training verb, and parses recipes and the settings of a resumed run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser

from maedfer.errors import UserError
from maedfer.parsing import Parser
from maedfer.resources import find_config
from maedfer.runs.folder import RunFolder

TWO_WORDS = ("--config=", "--run=", "--folds=")
"""Flags that are looked for before the parser runs, and are split into a flag and its value for that."""


class RecipeParser(Parser, LightningArgumentParser):
    """LightningCLI's parser, without abbreviations and with errors raised instead of exits."""

    def parse_string(self, *args: Any, **kwargs: Any) -> Namespace:
        """Parses a recipe, or the settings of a run that still has `data.draws: correct`."""
        # The text is the first argument or, by version of jsonargparse, has one of these names.
        named = {name: without_draws(kwargs[name]) for name in ("content", "cfg_str") if name in kwargs}
        texts = (without_draws(text) for text in args[:1])
        parsed: Namespace = super().parse_string(*texts, *args[1:], **kwargs | named)
        return parsed


def check_resume_or_init(args: list[str]) -> None:
    """Checks that `--resume`, which continues a run, and `--init-from`, which starts one, are not both given.

    Raises:
        UserError: both are given.
    """
    if "--resume=true" in args and any(word.split("=")[0] == "--init_from" for word in args):
        raise UserError("resume", "it continues a run, `init_from` starts a new one: give one of them")


def with_recipes(args: list[str], default_run: str) -> list[str]:
    """Replaces names of shipped recipes by their files, and puts the settings of a resumed run first.

    Raises:
        UserError: there is neither a run to resume nor a recipe.
    """
    words = in_pairs(args)
    recipes = [i + 1 for i, word in enumerate(words[:-1]) if word in ("--config", "-c")]
    for position in recipes:
        words[position] = str(find_config(words[position]))
    if "--resume=true" not in words:
        return words
    run = value_of("--run", words) or default_run
    own = RunFolder(Path(run)).config
    if own.is_file():
        return ["--config", str(own), *words]
    if not recipes:
        raise UserError("resume", f"{run} holds no run, so there is nothing to continue without `config`")
    return words


def in_pairs(args: list[str]) -> list[str]:
    """Splits `--run=x` into `--run x`, and the flags of recipes and folds likewise."""
    return [part for word in args for part in (word.split("=", 1) if word.startswith(TWO_WORDS) else [word])]


def value_of(flag: str, words: list[str]) -> str | None:
    """Returns the word behind a flag, None without the flag."""
    return words[words.index(flag) + 1] if flag in words[:-1] else None


def without(words: list[str], flag: str) -> list[str]:
    """Returns the words without a flag and its value."""
    if flag not in words:
        return words
    place = words.index(flag)
    return without(words[:place] + words[place + 2 :], flag)


def without_draws(text: str) -> str:
    """Removes the setting `data.draws`, which maedfer 0.1 had, from the text of a recipe.

    Raises:
        UserError: it is `official`.
    """
    draws = re.search(r"^ +draws: *(\w+) *\n", text, re.MULTILINE)
    if draws is None:
        return text
    if draws[1] != "correct":
        raise UserError(
            "draws",
            f"{draws[1]} was removed: upstream's correlated draws of loader workers are not reproduced any "
            "more (configs/README.md); delete the line, or continue with maedfer 0.1",
        )
    return text.replace(draws[0], "")
