"""MAFW with compound expressions: the eleven single ones and 32 combinations of two or three, five folds.

The lists name classes and have no numbers for them: the order here is ours, the single ones of `mafw` first,
then the combinations by their parts.
"""

from __future__ import annotations

from functools import partial

from maedfer.data.corpora import mafw
from maedfer.data.corpora.reading.corpus import Corpus, by_fold

COMPOUND = (
    *("anger_disgust", "anger_disgust_contempt", "anger_disgust_anxiety", "anger_sadness", "anger_surprise"),
    *("anger_anxiety", "anger_helplessness", "disgust_sadness", "disgust_surprise", "disgust_contempt"),
    *("disgust_anxiety", "disgust_anxiety_helplessness", "disgust_helplessness"),
    *("disgust_helplessness_disappointment", "disgust_disappointment", "fear_sadness"),
    *("fear_sadness_anxiety", "fear_surprise", "fear_surprise_anxiety", "fear_anxiety", "happiness_surprise"),
    *("happiness_contempt", "sadness_surprise", "sadness_anxiety", "sadness_anxiety_helplessness"),
    *("sadness_helplessness", "sadness_helplessness_disappointment", "sadness_disappointment"),
    *("surprise_anxiety", "anxiety_helplessness", "anxiety_helplessness_disappointment"),
    "helplessness_disappointment",
)
CLASSES = mafw.CLASSES + COMPOUND


CORPUS = Corpus(
    name="mafw_compound",
    title="MAFW (single and compound expressions)",
    classes=CLASSES,
    sizes={"all": 8996} | by_fold(1818, 1809, 1798, 1788, 1783),
    ask=mafw.ASK,
    terms=mafw.TERMS,
    layout=mafw.LAYOUT.format("compound"),
    find=partial(mafw.find_set, name="mafw_compound", kind="compound", classes=CLASSES),
    tested=False,
)
