"""The order of a run's callbacks, and what its checkpoints hold under keys of this package."""

import pytest
import torch
from helpers.pretraining_runs import arguments

from maedfer.lightning_internals import callbacks_of
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.run.callbacks import ORDER, check_order
from maedfer.training.run.checkpoints import position_of, ranks_of
from maedfer.training.run.recipes import with_recipes


def test_callbacks_are_in_order_and_another_order_is_refused(synthetic_shards, tmp_path):
    words = with_recipes(arguments(synthetic_shards, tmp_path / "run")[1:], "run")
    callbacks = callbacks_of(PretrainCLI(words).trainer)
    assert all(any(isinstance(callback, kind) for callback in callbacks) for kind in ORDER[:4] + ORDER[5:])
    for kind in ORDER[1:4] + ORDER[5:]:  # on a terminal there is a bar as well, ORDER[4]
        place = next(i for i, callback in enumerate(callbacks) if isinstance(callback, kind))
        moved = [callbacks[place], *callbacks[:place], *callbacks[place + 1 :]]
        with pytest.raises(RuntimeError, match=kind.__name__):
            check_order(moved)


def test_a_checkpoint_names_no_class_of_a_data_module(pretrained):
    saved = torch.load(pretrained / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["maedfer"].keys() == {"position", "ranks"} and ranks_of(saved) == 1
    assert not {"ClipDataModule", "LabelledDataModule"} & saved.keys()
    former = {"ClipDataModule": saved["maedfer"]["position"]}
    assert position_of(former) == position_of(saved) and ranks_of(former) == 1
    with pytest.raises(KeyError):
        position_of({})
