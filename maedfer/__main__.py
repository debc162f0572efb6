"""`maedfer` and `python -m maedfer`: the verbs; everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import sys

VERBS = {
    "demo": "make synthetic faces, pack, verify, pretrain, reconstruct: the whole way in a few minutes",
    "synthesize": "make synthetic face videos (or, unlabelled, shards of them)",
    "pack": "find, track and crop the faces of any videos, and write them to WebDataset shards",
    "verify": "read every sample of a shard folder again and name what is broken",
    "info": "say what a shard folder holds, and draw a contact sheet",
    "merge": "join shard folders, such as the parts of `pack --part i/n`",
    "pretrain": "pretrain LGI-Former by masked reconstruction of appearance and motion",
    "reconstruct": "held-out errors and pictures of a pretrained model",
    "finetune": "train a classifier (or regressor) on labelled shards, from an encoder or from scratch",
    "evaluate": "score a fine-tuned model: UAR, WAR, per class and group, pictures, predictions as CSV",
    "compare": "set two models beside each other on the same test clips: differences, intervals, tests",
    "consolidate": "write the encoder or classifier of a run that died, from its checkpoint",
    "convert": "turn a checkpoint of the original MAE-DFER code into a maedfer folder",
}

USAGE = """usage: maedfer VERB [flags]

{verbs}

`maedfer VERB --help` lists the flags of a verb."""


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit code: 0 done, 1 something is broken, 2 wrong input, 130 or 143 stopped."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE.format(verbs="\n".join(f"  {name:<12} {text}" for name, text in VERBS.items())))
        return 0 if args else 2
    if args[0] == "--version":
        from importlib.metadata import version

        print(f"maedfer {version('maedfer')}")
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
