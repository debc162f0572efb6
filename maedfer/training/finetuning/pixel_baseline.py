"""The plain baseline beside every trained number: logistic regression on the pixels of a clip.

Its features are the last frame minus the first of the centred clip, as stored: where a face is aligned, that
difference alone says much about an expression, and a video model has to beat it.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from maedfer.data.labels.subsets import Subset
from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.errors import UserError
from maedfer.evaluation.predictions import Predictions

STRENGTH = 1e-3
"""Inverse strength of the L2 penalty, for thousands of features and a hundred clips."""


def pixel_predictions(data: LabelledDataModule) -> Predictions:
    """Fit on the training part, answer for the test part.

    Raises:
        ValueError: a task without classes, or no test part.
    """
    task = data.reader.task
    if not task.is_single_label:
        raise UserError("task", f"{task.name}: the pixel baseline needs one class per sample (classify)")
    train, test = data.subset("train"), data.subset("test")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    model.fit(differences(data, train), train.targets.argmax(1))
    outputs = np.zeros((len(test), len(data.outputs)))
    outputs[:, model[-1].classes_] = model.predict_proba(differences(data, test))
    return Predictions(list(test.keys), outputs, test.targets.astype(np.float64), data.outputs, task)


def differences(data: LabelledDataModule, part: Subset) -> np.ndarray:
    """Last minus first frame of the centred clip of every sample, float32 (n, 3*H*W)."""
    batch = data.plain_clips(part.split, part.numbers)
    clips = batch.clips.numpy().astype(np.float32)
    return (clips[:, -1] - clips[:, 0]).reshape(len(part), -1)
