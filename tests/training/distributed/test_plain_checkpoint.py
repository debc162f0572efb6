"""A checkpoint in one file: the one before stays whole until the next one is."""

import pytest
import torch

from maedfer.training.distributed.plain_checkpoint import RenamedFile
from maedfer.training.distributed.zero_checkpoint import repair_checkpoint


def test_a_kill_while_it_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    RenamedFile().save_checkpoint({"step": 1}, path)

    def dying(checkpoint, stream):
        stream.write(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            RenamedFile().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1} and len(list(path.parent.iterdir())) == 2
    repair_checkpoint(path)
    RenamedFile().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 2} and list(path.parent.iterdir()) == [path]


@pytest.mark.long
def test_runs_use_it(pretrained, monkeypatch):
    """Nothing of a run goes over the folder for temporary files, which may be another disk."""
    from helpers.pretraining_runs import arguments

    from maedfer.training.pretraining.command import PretrainCLI
    from maedfer.training.run.recipes import with_recipes

    words = with_recipes(arguments("data_shards/sample", pretrained)[1:], "runs/pretrain")
    assert isinstance(PretrainCLI(words).trainer.strategy.checkpoint_io, RenamedFile)
