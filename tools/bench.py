"""How fast maedfer is on this machine, always beside the plain way of doing the same thing.

    python tools/bench.py loader|step|encoder|scaling [flags]

Each bench prints a table and writes `<bench>.json` and `<bench>.png` into `--out` (runs/bench).
"""

import importlib
import sys

from maedfer.cli import report_errors
from maedfer.errors import UserError
from maedfer.parsing import Parser, parse, with_values

BENCHES = ("loader", "step", "encoder", "scaling")


def run(name: str, words: list[str]) -> int:
    """Runs one bench with its flags.

    Raises:
        UserError: wrong flags, no memory left, or what the bench refuses.
    """
    import torch  # here, so that Ctrl-C during the slow import is reported in one line

    bench = getattr(importlib.import_module(f"benchmarks.{name}"), name)
    parser = Parser(prog=f"tools/bench.py {name}")
    parser.add_function_arguments(bench)
    try:
        bench(**parse(parser, with_values(words, ())).as_dict())
        return 0
    except torch.OutOfMemoryError as error:
        raise UserError("batch_size", "the GPU has too little memory: take a smaller one") from error


def main(args: list[str]) -> int:
    """Runs one bench and returns the exit code."""
    if not args or args[0] not in BENCHES:
        asked = bool(args) and args[0] in ("-h", "--help")
        print(
            __doc__ if asked else f"bench: say which: {', '.join(BENCHES)}",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    return report_errors(f"bench {args[0]}", args[1:], lambda: run(args[0], args[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
