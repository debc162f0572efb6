"""The optimizers: who trains what, a step of Muon against its definition, a kill and a resume, refusals."""

import math

import pytest
import torch
from finetuning_runs import arguments as fine_tuning
from pretraining_runs import arguments, keys, rows
from pytorch_lightning.strategies import SingleDeviceStrategy
from safetensors.torch import load_file

from maedfer.__main__ import main
from maedfer.models import build_mae
from maedfer.training.fine_tuning import FineTuning
from maedfer.training.optimizer import block_matrices, build_optimizer
from maedfer.training.run_records import MetricsFile
from maedfer.training.zero_strategy import ZeroStrategy

NAME = "lgi_former_tiny_patch8_64"
SMALL = {
    "img_size": 32,
    "num_frames": 8,
    "region_size": [2, 2, 4],
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
}
MUON = ("--model.optimizer", "muon")
HERE = SingleDeviceStrategy(torch.device("cpu"))
RATE, BETAS = 0.1, (0.9, 0.95)


@pytest.fixture
def mae():
    torch.manual_seed(0)
    return build_mae(NAME, SMALL, decoder_dim=16, decoder_depth=1, decoder_num_heads=2)


def groups_of(model):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.5},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0, "lr": RATE / 4},
    ]


def test_muon_has_the_matrices_of_the_blocks_and_adamw_everything_else(mae):
    optimizer = build_optimizer("muon", mae, groups_of(mae), RATE, BETAS, HERE)
    names = {id(parameter): name for name, parameter in mae.named_parameters()}
    of = {False: [], True: []}
    for group in optimizer.param_groups:
        of[group["use_fallback"]] += [names[id(parameter)] for parameter in group["params"]]
        assert (group["lr"], group["weight_decay"]) in ((RATE, 0.5), (RATE / 4, 0.0))
    assert sorted(of[False] + of[True]) == sorted(n for n, p in mae.named_parameters() if p.requires_grad)
    linears = ("q", "kv", "qkv", "proj", "fc1", "fc2")
    assert of[False] and all(".blocks." in name and name.split(".")[-2] in linears for name in of[False])
    assert not any(
        ".blocks." in name and name.split(".")[-2] in linears and name.endswith("weight") for name in of[True]
    )
    assert {"mask_token", "encoder.region_tokens", "encoder.patch_embed.proj.weight"} < set(of[True])


def test_a_step_of_muon_is_orthogonal_and_one_of_the_rest_adamws(mae):
    before = {name: parameter.detach().clone() for name, parameter in mae.named_parameters()}
    gradients = {name: torch.randn_like(parameter) for name, parameter in mae.named_parameters()}
    for name, parameter in mae.named_parameters():
        parameter.grad = gradients[name].clone() if parameter.requires_grad else None
    build_optimizer("muon", mae, groups_of(mae), RATE, BETAS, HERE).step()
    matrices = {id(parameter) for parameter in block_matrices(mae)}
    for name, parameter in mae.named_parameters():
        decayed = before[name].double() * (1 - 0.5 * RATE * (parameter.ndim > 1))
        step = decayed - parameter.detach().double()
        if id(parameter) in matrices:
            # U V' of the gradient, each element of the size of an update of AdamW (arXiv 2502.16982, eq. 4);
            # five Newton-Schulz iterations leave singular values of about 0.7 to 1.2.
            u, _, v = torch.linalg.svd(gradients[name].double(), full_matrices=False)
            step /= RATE * 0.2 * math.sqrt(max(parameter.shape))
            assert torch.linalg.svdvals(step).sub(1).abs().max() < 0.4
            assert torch.cosine_similarity(step.flatten(), (u @ v).flatten(), dim=0) > 0.96
        elif parameter.requires_grad:
            # AdamW's first step is the sign of the gradient.
            rate = RATE if parameter.ndim > 1 else RATE / 4
            torch.testing.assert_close(step, rate * gradients[name].double().sign(), atol=1e-3, rtol=0)
        else:
            assert parameter.equal(before[name])


def test_a_killed_run_resumes_exactly(kill, synthetic_shards, labelled_shards, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main(arguments(synthetic_shards, whole, *MUON)) == 0
    kill(arguments(synthetic_shards, run, *MUON), MetricsFile, "on_train_batch_end", 8)
    assert main(["pretrain", "--run", str(run), "--resume"]) == 0
    assert (rows(run), keys(run)) == (rows(whole), keys(whole))
    weights, others = (load_file(folder / "encoder" / "model.safetensors") for folder in (run, whole))
    assert all(weights[name].equal(others[name]) for name in others)
    fresh = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert any("momentum_buffer" in state for state in fresh["state"].values())


def test_layer_decay_reaches_both_halves(tmp_path):
    module = FineTuning(NAME, SMALL, pool="token", optimizer="muon", layer_decay=0.5)
    module.build("classify", tuple("abc"), torch.eye(3), None)
    optimizer = build_optimizer("muon", module.classifier, module.parameter_groups(1.0), 1.0, BETAS, HERE)
    names = {id(parameter): name for name, parameter in module.classifier.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    # The head counts as a layer behind the two blocks, the stem as one before them.
    assert rates["blocks.1.mlp.fc1.weight"] == rates["blocks.1.mlp.fc1.bias"] == 0.5
    assert rates["blocks.0.mlp.fc1.weight"] == rates["blocks.0.mlp.fc1.bias"] == 0.25
    assert (rates["head.weight"], rates["region_tokens"]) == (1.0, 0.125)


def test_muon_is_refused_where_it_would_do_nothing(mae, labelled_shards, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"which ZeRO cuts.*--model.optimizer adamw"):
        build_optimizer("muon", mae, groups_of(mae), RATE, BETAS, ZeroStrategy(stage=2))
    probe = fine_tuning(labelled_shards, tmp_path / "probe", *MUON, "--freeze-encoder", steps=2)
    assert main(probe) == 2
    assert "here they are frozen: take adamw" in capsys.readouterr().err
    unknown = arguments(labelled_shards, tmp_path / "other", "--model.optimizer", "sgd")
    assert main(unknown) == 2
    assert "optimizer" in capsys.readouterr().err
