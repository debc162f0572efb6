"""Entry point of `maedfer` and `python -m maedfer`. Each verb imports its libraries only when it runs."""

from __future__ import annotations

import sys

from maedfer.verbs import VERBS

USAGE = """usage: maedfer VERB [flags]

{verbs}

`maedfer VERB --help` lists the flags of a verb."""


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit code.

    0: done; 1: something is broken, or a bug (with its traceback); 2: wrong input; 130 or 143: stopped.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE.format(verbs="\n".join(f"  {verb.name:<12} {verb.help}" for verb in VERBS.values())))
        return 0 if args else 2
    if args[0] == "--version":
        from maedfer import __version__

        print(f"maedfer {__version__}")
        return 0
    if args[0] not in VERBS:
        from difflib import get_close_matches

        near = get_close_matches(args[0], VERBS, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        print(f"maedfer: {args[0]!r} is not a verb{hint} (see `maedfer --help`)", file=sys.stderr)
        return 2
    from maedfer.cli import run

    return run(args[0], args[1:])


if __name__ == "__main__":
    from maedfer.processes.child import end_with_parent

    end_with_parent()
    sys.exit(main())
