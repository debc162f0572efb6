"""Pixel baseline: logistic regression on the last frame minus the first frame of the centred clip.

If faces are aligned, this difference alone is informative about an expression; a video model has to beat it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from maedfer.data.labels.subsets import Subset
from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.errors import UserError
from maedfer.evaluation.predictions import Predictions

STRENGTH = 1e-3
"""Inverse strength of the L2 penalty, suited to thousands of features and a hundred clips."""


def pixel_predictions(data: LabelledDataModule) -> Predictions:
    """Fits the training samples and predicts the test samples.

    Raises:
        UserError: the task has no single class per sample, or there are no test samples.
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


def differences(data: LabelledDataModule, part: Subset) -> NDArray[np.float32]:
    """Returns the last minus the first frame of the centred clip of every sample, float32 (n, 3*H*W)."""
    batch = data.plain_clips(part.split, part.numbers)
    clips = batch.clips.numpy().astype(np.float32)
    pixels: NDArray[np.float32] = (clips[:, -1] - clips[:, 0]).reshape(len(part), -1)
    return pixels
