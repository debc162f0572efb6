"""How fast maedfer is on this machine, always beside the plain way of doing the same thing.

    python tools/bench.py loader|step|encoder|scaling [flags]

Each bench prints a table and writes `<bench>.json` and `<bench>.png` into `--out` (runs/bench).
"""

import importlib
import sys

from maedfer.cli import one_line
from maedfer.parsing import Parser, parse, with_values

BENCHES = ("loader", "step", "encoder", "scaling")


def run(name: str, words: list[str]) -> None:
    """Run one bench with its flags.

    Raises:
        ValueError: wrong flags, no memory left, or what the bench refuses.
    """
    import torch  # only here, so that whoever stops the slow import is told so in one line

    bench = getattr(importlib.import_module(f"benchmarks.{name}"), name)
    parser = Parser(prog=f"tools/bench.py {name}")
    parser.add_function_arguments(bench)
    try:
        bench(**parse(parser, with_values(words, ())).as_dict())
    except torch.OutOfMemoryError as error:
        raise ValueError("the GPU has too little memory: take a smaller --batch-size") from error


def main(args: list[str]) -> int:
    """Run one bench; returns the exit code."""
    if not args or args[0] not in BENCHES:
        asked = bool(args) and args[0] in ("-h", "--help")
        print(
            __doc__ if asked else f"bench: say which: {', '.join(BENCHES)}",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    try:
        run(args[0], args[1:])
    except (ValueError, OSError) as error:
        print(f"bench {args[0]}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"bench {args[0]}: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
