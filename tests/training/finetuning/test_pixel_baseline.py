"""The pixel baseline: its features are a difference of stored frames, its fit scikit-learn's."""

import numpy as np
import pytest

from maedfer.data.loading.labelled_datamodule import LabelledDataModule
from maedfer.data.synthetic.clips import SyntheticFaces
from maedfer.data.synthetic.dataset import write_shards
from maedfer.errors import UserError
from maedfer.evaluation.scores import scores
from maedfer.training.finetuning.pixel_baseline import differences, pixel_predictions


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Labelled tracks of 16 frames, 32 px, of people who differ little."""
    folder = tmp_path_factory.mktemp("pixels") / "shards"
    write_shards(folder, SyntheticFaces(size=32), {"train": 56, "test": 14}, labelled=True, workers=1)
    return folder


def test_features_are_the_last_frame_minus_the_first(shards):
    data = LabelledDataModule(str(shards), val_share=0.0, workers=0)
    part = data.subset("test")
    found = differences(data, part)
    assert found.shape == (14, 3 * 32 * 32)
    clips = [
        SyntheticFaces(size=32, split="test").clip(index).frames.astype(np.float32) for index in range(14)
    ]
    drawn = np.stack([(frames[-1] - frames[0]).transpose(2, 0, 1).ravel() for frames in clips])
    like = np.corrcoef(found, drawn)[:14, 14:]  # JPEG lies between, so they are alike and not equal
    assert (like.argmax(1) == np.arange(14)).all()


def test_it_answers_for_every_test_clip_and_learns(shards):
    data = LabelledDataModule(str(shards), val_share=0.0, workers=0)
    predictions = pixel_predictions(data)
    assert list(predictions.keys) == list(data.subset("test").keys)
    assert scores(predictions)["uar"] > 2 / 7


def test_it_takes_classes_only(shards):
    data = LabelledDataModule(str(shards), task="regress", columns=["valence"], val_share=0.0)
    with pytest.raises(UserError, match=r"^task: regress"):
        pixel_predictions(data)
