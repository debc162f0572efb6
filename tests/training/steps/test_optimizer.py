"""The optimizers: who trains what, a step of Muon against its definition, a kill and a resume, refusals."""

import math

import pytest
import torch
from helpers.finetuning_runs import arguments as fine_tuning
from helpers.pretraining_runs import arguments, keys, rows
from safetensors.torch import load_file

from maedfer.__main__ import main
from maedfer.models import build_mae
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.run.records import MetricsFile
from maedfer.training.steps.optimizer import block_matrices, build_optimizer

pytestmark = pytest.mark.long

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
    optimizer = build_optimizer("muon", mae, groups_of(mae), RATE, BETAS)
    names = {id(parameter): name for name, parameter in mae.named_parameters()}
    muon, adamw = [], []
    for group in optimizer.param_groups:
        (muon if group["use_muon"] else adamw).extend(names[id(parameter)] for parameter in group["params"])
        assert (group["lr"], group["weight_decay"]) in ((RATE, 0.5), (RATE / 4, 0.0))
    assert sorted(muon + adamw) == sorted(n for n, p in mae.named_parameters() if p.requires_grad)
    inside = [name for name in muon + adamw if ".blocks." in name and "norm" not in name]
    assert sorted(muon) == sorted(name for name in inside if name.endswith(".weight"))
    assert {"mask_token", "encoder.region_tokens", "encoder.patch_embed.proj.weight"} < set(adamw)


def test_a_narrow_matrix_is_muons_too():
    """By its shape alone, timm would give it to AdamW."""
    model = torch.nn.ModuleDict({"blocks": torch.nn.Linear(2, 300, bias=False)})
    optimizer = build_optimizer("muon", model, groups_of(model), RATE, BETAS)
    model["blocks"].weight.grad = torch.randn(300, 2)
    optimizer.step()
    assert "momentum_buffer" in optimizer.state[model["blocks"].weight]


def uneven(noise):
    """A matrix with singular values from 0.1 to 1; anything else as it is."""
    if noise.ndim != 2:
        return noise
    u, s, v = torch.linalg.svd(noise, full_matrices=False)
    return u @ torch.diag(torch.linspace(0.1, 1, len(s))) @ v


def test_a_step_of_muon_is_orthogonal_and_one_of_the_rest_adamws(mae):
    before = {name: parameter.detach().clone() for name, parameter in mae.named_parameters()}
    gradients = {name: uneven(torch.randn_like(parameter)) for name, parameter in mae.named_parameters()}
    for name, parameter in mae.named_parameters():
        parameter.grad = gradients[name].clone() if parameter.requires_grad else None
    build_optimizer("muon", mae, groups_of(mae), RATE, BETAS).step()
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
            # AdamW's first step is the sign of the gradient, where that is not lost in its epsilon.
            rate = RATE if parameter.ndim > 1 else RATE / 4
            clear = gradients[name].abs() > 1e-2
            signs = gradients[name].double().sign()[clear]
            torch.testing.assert_close(step[clear], rate * signs, atol=1e-5, rtol=0)
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


def test_layer_decay_reaches_both_halves():
    module = FineTuning(NAME, SMALL, pool="token", optimizer="muon", layer_decay=0.5)
    module.build("classify", tuple("abc"), torch.eye(3), None)
    optimizer = build_optimizer("muon", module.classifier, module.parameter_groups(1.0), 1.0, BETAS)
    names = {id(parameter): name for name, parameter in module.classifier.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    # The head counts as a layer behind the two blocks, the stem as one before them.
    assert rates["blocks.1.mlp.fc1.weight"] == rates["blocks.1.mlp.fc1.bias"] == 0.5
    assert rates["blocks.0.mlp.fc1.weight"] == rates["blocks.0.mlp.fc1.bias"] == 0.25
    assert (rates["head.weight"], rates["region_tokens"]) == (1.0, 0.125)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--trainer.strategy", "deepspeed_stage_2"), "which ZeRO cuts: take --trainer.strategy ddp"),
        (("--model.optimizer", "sgd"), "optimizer"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_folder(synthetic_shards, tmp_path, capsys, flags, said):
    assert main(arguments(synthetic_shards, tmp_path / "run", *MUON, *flags)) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and "\n" not in told and not (tmp_path / "run").exists()


def test_a_probe_has_nothing_for_muon(labelled_shards, tmp_path, capsys):
    probe = fine_tuning(labelled_shards, tmp_path / "run", *MUON, "--freeze-encoder", steps=2)
    assert main(probe) == 2
    told = capsys.readouterr().err
    assert "--model.optimizer: muon" in told and "--freeze-encoder" in told and "take adamw" in told
    assert not (tmp_path / "run").exists()


def test_the_other_optimizer_is_refused_to_resume(synthetic_shards, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(synthetic_shards, run, *MUON, steps=2)) == 0
    before = (run / "config.yaml").read_bytes()
    words = ["pretrain", "--run", str(run), "--resume", "--trainer.max_steps", "3"]
    assert main([*words, "--model.optimizer", "adamw"]) == 2
    assert "was trained with --model.optimizer muon, not adamw" in capsys.readouterr().err
    assert (run / "config.yaml").read_bytes() == before
    assert main(words) == 0


def test_gradients_are_clipped_in_mixed_precision(labelled_shards, tmp_path):
    run = tmp_path / "run"
    mixed = ("--trainer.precision", "bf16-mixed", "--trainer.gradient_clip_val", "0.1")
    assert main(fine_tuning(labelled_shards, run, "--data.val_share", "0", *mixed, steps=3)) == 0
    assert all(0 < float(row["loss"]) < 10 for row in rows(run))
