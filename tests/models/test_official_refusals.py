"""Files that are no upstream checkpoints, or do not fit: one line that says so, never PyTorch's own text."""

import pickle

import pytest
import torch

from maedfer import from_official, load_classifier, load_encoder
from maedfer.models import to_official
from maedfer.models.convert import convert

SIZES = {"img_size": 32, "num_frames": 8, "num_heads": 2}


def test_what_does_not_fit_is_explained(build_tiny, tmp_path):
    state = to_official(build_tiny(num_classes=3).state_dict())
    with pytest.raises(
        ValueError, match=r"region_tokens is \(4, 24\) in the weights, \(8, 24\) in the model"
    ):
        from_official(state, (2, 2, 2), **SIZES)
    with pytest.raises(ValueError, match=r"missing: blocks\.1\.mlp\.fc2\.bias"):
        from_official({k: v for k, v in state.items() if k != "blocks.1.mlp.fc2.bias"}, (2, 2, 4), **SIZES)
    with pytest.raises(ValueError, match=r"without fc_norm"):
        from_official({k: v for k, v in state.items() if "fc_norm" not in k}, (2, 2, 4), **SIZES)
    with pytest.raises(ValueError, match=r"not an MAE-DFER or VideoMAE checkpoint"):
        from_official({"conv1.weight": torch.zeros(1)})
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth"):
        from_official(tmp_path / "nowhere.pth")


class Stranger:
    """A class of somebody's, which a safe load does not build."""


def unsafe_or_damaged(state, tmp_path):
    """Files that are no checkpoints, or only the start of one, or need a class to load."""
    torch.save({"model": state}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    torch.save({"model": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old = (tmp_path / "old.pth").read_bytes()
    yield from (b"", b"no checkpoint", bytes(range(256)) * 8, whole[: len(whole) // 2], whole[:100])
    yield from (old[: len(old) * part // 16] for part in range(1, 16))
    yield pickle.dumps({"model": Stranger()}, protocol=2)
    torch.save({"model": state, "args": Stranger()}, tmp_path / "class.pth")
    yield (tmp_path / "class.pth").read_bytes()


def test_files_that_cannot_be_loaded_safely_are_refused_in_our_own_line(build_tiny, tmp_path):
    file = tmp_path / "bad.pth"
    for content in unsafe_or_damaged(to_official(build_tiny(num_classes=3).state_dict()), tmp_path):
        file.write_bytes(content)
        for read in (from_official, load_encoder, lambda path: convert(path, tmp_path / "out")):
            with pytest.raises(ValueError, match=r"bad.pth is not a checkpoint that can be loaded") as error:
                read(file)
            assert "weights_only" not in str(error.value) and "\n" not in str(error.value)


def test_any_other_file_is_refused_without_a_key_error(build_tiny, build_tiny_mae, tmp_path):
    state = to_official(build_tiny(num_classes=3).state_dict())
    pretraining = to_official(build_tiny_mae().state_dict())
    cases = [
        ([state], r"holds a list"),
        ({}, r"no patch_embed.proj.weight"),
        ({7: torch.zeros(1), "epoch": 3}, r"no patch_embed.proj.weight"),
        ({f"other.{name}": tensor for name, tensor in state.items()}, r"no patch_embed.proj.weight"),
        (state | {"patch_embed.proj.weight": torch.zeros(24, 3, 8, 8)}, r"of 5 dimensions"),
        ({"patch_embed.proj.weight": state["patch_embed.proj.weight"]}, r"no blocks.0.mlp.fc1.weight"),
        (state | {"head.weight": torch.zeros(())}, r"no head.weight of 2"),
        ({k: v for k, v in pretraining.items() if not k.startswith("decoder.")}, r"no decoder.blocks.0"),
        (state | {"blocks.x.mlp.fc1.weight": torch.zeros(1)}, r"not in the model: blocks.x"),
        (state | {"pos_embed": torch.zeros(1)}, r"learned positions"),
    ]
    for content, message in cases:
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=message) as error:
            from_official(tmp_path / "other.pth", (2, 2, 4), **SIZES)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("mark", [{}, {"pytorch-lightning_version": "2.6.0", "global_step": 3}])
def test_a_training_checkpoint_of_a_run_is_told_as_one(build_tiny_mae, tmp_path, mark):
    state = {f"mae.{name}": tensor for name, tensor in build_tiny_mae().state_dict().items()}
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, **mark}, file)
    for read in (from_official, load_encoder, load_classifier):
        with pytest.raises(ValueError, match=r"last.ckpt is a training checkpoint of a run: give the run"):
            read(file)
