"""Every ablation switch in real runs: two steps of pre-training on the sample shards, then of fine-tuning."""

import json

import pytest
import torch
import yaml
from helpers.pretraining_runs import rows

import maedfer
from maedfer.__main__ import main
from maedfer.models import build_mae
from maedfer.models.config import read_config
from maedfer.models.official import from_official, to_official
from maedfer.training.finetuning.start import starting_encoder
from maedfer.training.pretraining.module import MaskedPretraining

pytestmark = pytest.mark.long

SHAPE = {
    "img_size": 32,
    "num_frames": 8,
    "region_size": [2, 2, 4],
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
}
# What differs in the encoder, in pre-training, and what fine-tuning pools.
RUNS = {
    "cross": (
        {"intra_region": "cross"},
        {"mask_mode": "random", "motion_group": 4, "appearance_weight": 0.5},
        "region",
    ),
    "self": (
        {"local_global": "self", "share_attention": "first_third"},
        {"mask_symmetry": "global", "mask_ratio": 0.9, "appearance_weight": 1.0},
        "region",
    ),
    "no-third": (
        {"local_global": "none", "share_attention": "all"},
        {"mask_mode": "random", "mask_symmetry": "local", "mask_ratio": 0.5, "motion_group": 1},
        "token",
    ),
    "no-second": (
        {"inter_region": False, "share_attention": "all"},
        {"motion_group": 3, "mask_symmetry": "local", "appearance_weight": 0.0},
        "all",
    ),
    "neither": ({"inter_region": False, "local_global": "none"}, {"motion_group": 2}, "attentive"),
}


PUBLISHED = {"decoder_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2, "decoder_attention": "joint"}
PUBLISHED |= {"optimizer": "adamw", "mask_mode": "tube", "motion_group": "null"}


def run(verb, folder, args, flags, *more):
    """A tiny run of two steps on the sample shards, as published but for what `args` and `flags` change."""
    words = [verb, "--config", f"{verb}/demo", "--run", str(folder), "--trainer.max_steps", "2"]
    words += ["--data.workers", "0", "--data.batch_size", "4", "--trainer.enable_progress_bar", "false"]
    words += ["--model.model_args", json.dumps(SHAPE | args), *more]
    if verb == "pretrain":
        flags = PUBLISHED | flags
    for name, value in flags.items():
        words += [f"--model.{name}", str(value)]
    return main(words)


@pytest.mark.parametrize("name", RUNS)
def test_an_ablation_pretrains_and_finetunes(tmp_path, name):
    args, flags, pool = RUNS[name]
    assert run("pretrain", tmp_path / "pre", args, flags) == 0
    losses = [float(row["loss"]) for row in rows(tmp_path / "pre")]
    assert len(losses) == 2 and all(0 < loss < 10 for loss in losses)
    assert list((tmp_path / "pre" / "figures").glob("reconstruction_*.png"))
    said = read_config(tmp_path / "pre" / "encoder").provenance
    assert all(said[flag] == value for flag, value in flags.items() if flag != "appearance_weight")
    # Fine-tuning is told nothing of the stages: they come with the weights.
    start = ("--init-from", str(tmp_path / "pre"))
    assert run("finetune", tmp_path / "fine", {}, {"pool": pool}, *start) == 0
    model = maedfer.load_classifier(tmp_path / "fine")
    assert {**model.stages, **args} == model.stages and model.pool_mode == pool
    assert args.items() <= read_config(tmp_path / "fine" / "classifier").model_args.items()
    assert model(torch.zeros(1, 3, 8, 32, 32)).isfinite().all()


def test_pretraining_freezes_the_stage_that_its_decoder_cannot_see():
    """Ranks would wait for its gradients. Here the attention is shared, and the norm alone is in vain."""
    decoder = {"decoder_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    module = MaskedPretraining("lgi_former_tiny_patch8_64", SHAPE | RUNS["no-third"][0], **decoder)
    frozen = {name for name, p in module.mae.named_parameters() if not p.requires_grad}
    assert frozen == {f"encoder.blocks.1.inter_region_norm.{name}" for name in ("weight", "bias")}
    trained = [p for group in module.parameter_groups() for p in group["params"]]
    assert len(trained) + 2 == len(list(module.parameters())) and all(p.requires_grad for p in trained)


@pytest.mark.parametrize("args", [args for args, _, _ in RUNS.values()], ids=RUNS)
def test_an_upstream_file_brings_its_stages(tmp_path, args):
    shape = SHAPE | {"embed_dim": 64, "num_heads": 1, "num_frames": 16}
    mae = build_mae("lgi_former_tiny_patch8_64", shape | args, decoder_dim=64, decoder_num_heads=1)
    path = tmp_path / "checkpoint-49.pth"
    torch.save({"model": to_official(mae.state_dict())}, path)
    start = starting_encoder("lgi_former_tiny_patch8_64", shape, str(path))
    found = from_official(path, shape["region_size"], img_size=32).encoder
    assert start.encoder.stages == found.stages == {name: start.model_args[name] for name in found.stages}
    clip = torch.randn(1, 3, 16, 32, 32)
    torch.testing.assert_close(start.encoder.eval()(clip), mae.encoder.eval()(clip))
    with pytest.raises(ValueError, match="does not fit this LGIFormer"):
        starting_encoder("lgi_former_tiny_patch8_64", {**shape, "depth": 3}, str(path))


def test_a_run_from_before_the_ablations_goes_on(tmp_path):
    """Its configuration knows none of their arguments, and its checkpoint has the names there always were."""
    folder = tmp_path / "run"
    assert run("pretrain", folder, {}, {}) == 0
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for name in ("motion_group", "mask_mode", "mask_symmetry"):
        del config["model"][name]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["pretrain", "--run", str(folder), "--resume", "--trainer.max_steps", "3"]) == 0
    assert len(rows(folder)) == 3


@pytest.mark.parametrize(
    ("args", "flags", "message"),
    [
        ({"region_size": [2, 2, 2]}, {"mask_symmetry": "local"}, "one is 2 of 4 tokens wide"),
        ({}, {"mask_symmetry": "global", "mask_ratio": 0.4}, "0.4 leaves 5 of 8 tokens visible"),
        ({}, {"motion_group": 0}, "0 must be 1 (no motion) or more frames"),
        ({"intra_region": "cross", "local_global": "none"}, {}, "nothing can be pre-trained"),
        ({"local_global": "none", "share_attention": "first_third"}, {}, "shares nothing"),
        ({"local_global": "global"}, {}, "'global' is not one of ('cross', 'self', 'none')"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys, args, flags, message):
    assert run("pretrain", tmp_path / "run", args, flags) == 2
    told = capsys.readouterr().err.strip()
    assert message in told and "\n" not in told and not (tmp_path / "run").exists()
