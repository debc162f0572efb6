"""Reads corpora as their authors distribute them; one module each finds clips, labels and folds.

`maedfer pack ROOT --corpus NAME` reads them; anything else is packed from a `.csv` or `.jsonl` list. Every
module of this folder is a corpus of the module's name and defines `CORPUS`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re

from maedfer.data.corpora.reading.corpus import UNTESTED, Corpus
from maedfer.errors import UserError

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))
"""Names of the corpora: those of the modules in this folder."""


def load_corpus(name: str) -> Corpus:
    """Returns the corpus of a name; case, hyphens and other signs do not matter (`CREMA-D`, `CK+`).

    Raises:
        UserError: there is no corpus of this name.
    """
    plain = {known.replace("_", ""): known for known in NAMES}
    known = plain.get(re.sub("[^a-z0-9]", "", name.lower().replace("+", "plus")))
    if known is None:
        untested = [known for known in NAMES if not _import(known).tested]
        raise UserError(
            "corpus",
            f"{name} is unknown: take one of {', '.join(NAMES)}, or leave it out and give a .csv list of any "
            f"clips ({UNTESTED}: {', '.join(untested)})",
        )
    return _import(known)


def table() -> str:
    """Returns the table of all corpora in Markdown, for `docs/corpora.md`."""
    head = ("`--corpus`", "corpus", "classes", "clips", "folds", "terms (its page decides)", "folder")
    rows = [head, ("---",) * len(head)]
    for corpus in map(_import, NAMES):
        layout = corpus.layout.replace("<", "&lt;") + ("" if corpus.tested else f" ({UNTESTED})")
        total = f"{corpus.total:,}" if corpus.total else "not published"
        numbers = (str(len(corpus.classes) or "none"), total, str(corpus.folds or "none"))
        rows.append((f"`{corpus.name}`", f"[{corpus.title}]({corpus.ask})", *numbers, corpus.terms, layout))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _import(name: str) -> Corpus:
    corpus: Corpus = importlib.import_module(f"{__name__}.{name}").CORPUS
    return corpus
