"""Does it learn? When pre-training pays, what each piece of it is worth, and what gets it off its plateau.

    python tools/study.py budget|pieces|pooling [flags]

Each question prints a table and writes it, its rows and a figure into `--out` (runs/study). Runs that are
there are not done again: a question can be stopped, and asked again with more seeds.
"""

import importlib
import sys

from maedfer.cli import report_errors
from maedfer.parsing import Parser, parse, with_values

QUESTIONS = ("budget", "pieces", "pooling")


def ask(name: str, words: list[str]) -> int:
    """Answers one question with its flags.

    Raises:
        UserError: wrong flags, or a run that failed.
    """
    question = getattr(importlib.import_module(f"studies.{name}"), name)
    parser = Parser(prog=f"tools/study.py {name}")
    parser.add_function_arguments(question)
    question(**parse(parser, with_values(words, ())).as_dict())
    return 0


def main(args: list[str]) -> int:
    """Answers one question and returns the exit code."""
    if not args or args[0] not in QUESTIONS:
        asked = bool(args) and args[0] in ("-h", "--help")
        print(
            __doc__ if asked else f"study: say which: {', '.join(QUESTIONS)}",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    return report_errors(f"study {args[0]}", args[1:], lambda: ask(args[0], args[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
