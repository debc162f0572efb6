"""Small predictions with chosen answers, and records that go with them."""

import numpy as np

from maedfer.data.shards.records import TrackRecord
from maedfer.evaluation.predictions import Predictions, SampleInfo
from maedfer.tasks import TASKS


def classified(truth, answers, names, confidence=0.8):
    """A classification that gives `answers` with one confidence, for classes by number."""
    classes, rest = len(names), (1 - confidence) / (len(names) - 1)
    outputs = np.full((len(answers), classes), rest)
    outputs[np.arange(len(answers)), answers] = confidence
    return Predictions(
        [f"k{i:03d}" for i in range(len(truth))],
        outputs,
        np.eye(classes)[list(truth)],
        tuple(names),
        TASKS["classify"],
    )


def measured(targets, outputs, names=("valence",)):
    """A regression, one row per sample."""
    targets, outputs = (np.array(v, dtype=np.float64).reshape(-1, len(names)) for v in (targets, outputs))
    return Predictions([f"k{i:03d}" for i in range(len(targets))], outputs, targets, names, TASKS["regress"])


def labelled(targets, outputs, names):
    """Several labels per sample."""
    targets, outputs = (np.array(v, dtype=np.float64) for v in (targets, outputs))
    return Predictions(
        [f"k{i:03d}" for i in range(len(targets))], outputs, targets, tuple(names), TASKS["multilabel"]
    )


def records_of(predictions, **columns):
    """Facts about each sample; `columns` are lists of a field (`subject`, `fold`) or of a metadata column."""
    rows = []
    for i, key in enumerate(predictions.keys):
        fields = {name: values[i] for name, values in columns.items()}
        subject, fold = (fields.pop(name, None) for name in ("subject", "fold"))
        facts = {"source": f"faces/{key}.mp4", "subject": subject, "fold": fold, "metadata": fields}
        rows.append(SampleInfo.of(TrackRecord(key, 16, 25.0, 96, 96, "jpeg", **facts)))
    return rows
