"""The order of a run's callbacks, and what its checkpoints hold under keys of this package."""

import pytest
import torch
from helpers.pretraining_runs import arguments

from maedfer.lightning_internals import callbacks_of
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.pretraining.held_out import HeldOutEvaluation
from maedfer.training.run.checkpoints import BestCheckpoint, LastCheckpoint, own_part
from maedfer.training.run.interruption import CheckpointOnSignal
from maedfer.training.run.non_finite import NonFiniteLoss
from maedfer.training.run.progress import ProgressLines
from maedfer.training.run.recipes import with_recipes
from maedfer.training.run.records import KeyRecorder, MetricsFile
from maedfer.training.run.throughput import Throughput

ORDER = (
    *(MetricsFile, KeyRecorder, NonFiniteLoss),  # on record before a checkpoint says that a step is done
    HeldOutEvaluation,  # logs the value that the best checkpoint is chosen by
    *(Throughput, ProgressLines),  # the speed is measured before it is shown
    BestCheckpoint,  # its state is part of the checkpoints that the next two write
    CheckpointOnSignal,
    LastCheckpoint,
)


def test_callbacks_are_in_the_order_that_they_need(synthetic_shards, tmp_path):
    words = with_recipes(arguments(synthetic_shards, tmp_path / "run")[1:], "run")
    # Lightning moves callbacks that write checkpoints to the end.
    kinds = [type(callback) for callback in callbacks_of(PretrainCLI(words).trainer)]
    places = [kinds.index(kind) for kind in ORDER]
    assert places == sorted(places)


def test_a_checkpoint_names_no_class_of_a_data_module(pretrained):
    saved = torch.load(pretrained / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["maedfer"].keys() == {"position", "ranks"} and own_part(saved)["ranks"] == 1
    assert not {"ClipDataModule", "LabelledDataModule"} & saved.keys()
    for name in ("ClipDataModule", "LabelledDataModule"):
        assert own_part({name: saved["maedfer"]["position"]}) == saved["maedfer"]
    with pytest.raises(KeyError):
        own_part({})
