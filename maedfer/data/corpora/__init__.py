"""Corpora as their authors distribute them: one file each that says where clips, labels and folds are.

`maedfer pack ROOT --corpus NAME` reads them; anything else is packed from a `.csv` or `.jsonl` list.
"""

from __future__ import annotations

import importlib
import re

from maedfer.data.corpora.corpus import Corpus

NAMES = (
    "voxceleb2",
    "dfew",
    "ferv39k",
    "mafw",
    "mafw_compound",
    "ravdess",
    "cremad",
    "enterface05",
    "afew",
    "caer",
    "ck_plus",
    "mead",
    "meld",
    "celebv_hq",
    "mosei",
)
"""Names of the corpora, which are those of their files."""


def load_corpus(name: str) -> Corpus:
    """The corpus of a name; case, hyphens and other signs do not matter (`CREMA-D`, `CK+`).

    Raises:
        ValueError: there is none.
    """
    plain = {known.replace("_", ""): known for known in NAMES}
    known = plain.get(re.sub("[^a-z0-9]", "", name.lower().replace("+", "plus")))
    if known is None:
        raise ValueError(
            f"--corpus {name} is unknown: take one of {', '.join(NAMES)}, or leave it out and give a .csv "
            "list of any clips"
        )
    return importlib.import_module(f"maedfer.data.corpora.{known}").CORPUS
