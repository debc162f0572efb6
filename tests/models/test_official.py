"""Upstream checkpoints: every name, the oracle's numbers, joint attention, messages for what does not fit."""

import argparse
import json
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from timm.optim import param_groups_layer_decay

from maedfer import from_official, load_classifier, load_encoder
from maedfer.models import JointViT, LGIFormer, MaskedAutoencoder, build_mae
from maedfer.models.convert import convert
from maedfer.models.official import official_name, our_names, to_official

ORACLE_HEADS = {"num_heads": 4, "decoder_num_heads": 4}
FORWARD = {"rtol": 0, "atol": 1e-5}


def assert_gradients(model, oracle, prefix=""):
    """Norms of all gradients and the stored ones in full, to 1e-4 relative."""
    ours = to_official({name: parameter.grad for name, parameter in model.named_parameters()})
    names = oracle.numbers[f"{prefix}grad_norm_names"].tolist()
    assert ours.keys() == set(names)
    for name, norm in zip(names, oracle.numbers[f"{prefix}grad_norms"], strict=True):
        assert ours[name].norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-8), name
    for key in oracle.numbers:
        if key.startswith("grad/"):
            error = (ours[key.removeprefix("grad/")] - oracle[key]).norm() / oracle[key].norm()
            assert error < 1e-4, key


@pytest.mark.real
def test_pretraining_numbers_are_upstreams(pretrain_oracle):
    mae = from_official(pretrain_oracle.weights, **ORACLE_HEADS, decoder_positions="official")
    blocks = []
    for block in mae.encoder.blocks:
        block.register_forward_hook(lambda module, args, output: blocks.append(output))
    out = mae(pretrain_oracle.clip, pretrain_oracle["mask"])
    torch.testing.assert_close(blocks[0], pretrain_oracle["enc_block0"], **FORWARD)
    torch.testing.assert_close(blocks[1], pretrain_oracle["enc_block1"], **FORWARD)
    sub = pretrain_oracle["sub"]
    torch.testing.assert_close(out.pred[:, sub], pretrain_oracle["out_sub"], **FORWARD)
    torch.testing.assert_close(out.pred.mean(-1), pretrain_oracle["out_tok_mean"], **FORWARD)
    torch.testing.assert_close(out.pred.std(-1), pretrain_oracle["out_tok_std"], **FORWARD)
    torch.testing.assert_close(out.target[:, sub], pretrain_oracle["lab_sub"], **FORWARD)
    torch.testing.assert_close(out.target.mean(-1), pretrain_oracle["lab_tok_mean"], **FORWARD)
    torch.testing.assert_close(out.target.std(-1), pretrain_oracle["lab_tok_std"], **FORWARD)
    for found, name in (
        (out.loss, "loss_diff"),
        (out.loss_appearance, "mse_appearance"),
        (out.loss_motion, "mse_motion"),
    ):
        assert found.item() == pytest.approx(pretrain_oracle[name].item(), abs=1e-5)
    out.loss.backward()
    assert_gradients(mae, pretrain_oracle)


@pytest.mark.real
def test_visible_tokens_are_upstreams_in_raster_order(pretrain_oracle):
    encoder = from_official(pretrain_oracle.weights, **ORACLE_HEADS).encoder
    clip, visible = pretrain_oracle.clip, pretrain_oracle["vis_raster_order"]
    torch.testing.assert_close(
        encoder.patch_embed(clip)[:, :4], pretrain_oracle["patch_embed_first4"], **FORWARD
    )
    tokens = encoder.forward_visible(clip, visible).tokens
    emitted = pretrain_oracle["vis_encoder_order"]
    for i in range(2):
        places = torch.searchsorted(visible[i], emitted[i])
        torch.testing.assert_close(tokens[i, places], pretrain_oracle["encoder_out"][i], **FORWARD)
    moved = (encoder.region_major_places(visible) != torch.arange(80)).sum(1)
    assert (moved == pretrain_oracle["n_visible_with_wrong_decoder_pos"]).all()


@pytest.mark.real
def test_correct_positions_and_other_weights_give_the_other_losses(pretrain_oracle):
    sub, mask = pretrain_oracle["sub"], pretrain_oracle["mask"]
    mae = from_official(pretrain_oracle.weights, **ORACLE_HEADS)
    with torch.no_grad():
        out = mae(pretrain_oracle.clip, mask)
        torch.testing.assert_close(out.pred[:, sub], pretrain_oracle["out_sub_fixed_order"], **FORWARD)
        assert out.loss.item() == pytest.approx(pretrain_oracle["loss_diff_fixed_order"].item(), abs=1e-5)
        mae.decoder_positions, mae.appearance_weight = "official", 0.7
        loss = mae(pretrain_oracle.clip, mask).loss
        assert loss.item() == pytest.approx(pretrain_oracle["loss_diff_w03"].item(), abs=1e-5)
        mae.appearance_weight = 0.5
        for group, name in ((4, "loss_diff_group4"), (1, "loss_plain"), (2, "loss_diff")):
            mae.motion_group = group
            loss = mae(pretrain_oracle.clip, mask).loss
            assert loss.item() == pytest.approx(pretrain_oracle[name].item(), abs=1e-5), name
        loss = mae.double()(pretrain_oracle.clip.double(), mask).loss
        assert loss.item() == pytest.approx(pretrain_oracle["loss_diff_f64"].item(), abs=1e-7)


@pytest.mark.real
@pytest.mark.parametrize(("stored", "pool"), [("region", "region"), ("org", "token"), ("all", "all")])
def test_classifier_numbers_are_upstreams(finetune_oracle, stored, pool):
    model = from_official(finetune_oracle.weights, num_heads=4, pool=pool)
    feature = model.forward_head(model.forward_features(finetune_oracle.clip), pre_logits=True)
    torch.testing.assert_close(feature, finetune_oracle[f"{stored}/feature"], **FORWARD)
    logits = model(finetune_oracle.clip)
    torch.testing.assert_close(logits, finetune_oracle[f"{stored}/logits"], **FORWARD)
    loss = F.cross_entropy(logits, finetune_oracle["labels"])
    assert loss.item() == pytest.approx(finetune_oracle[f"{stored}/ce"].item(), abs=1e-5)
    loss.backward()
    assert_gradients(model, finetune_oracle, f"{stored}/")


@pytest.mark.real
def test_layer_decay_groups_are_upstreams_but_for_the_representative_tokens(shared, finetune_oracle):
    model = from_official(finetune_oracle.weights, num_heads=4)
    names = {id(parameter): official_name(name) for name, parameter in model.named_parameters()}
    ours = {
        names[id(parameter)]: (group["weight_decay"], group["lr_scale"])
        for group in param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.75)
        for parameter in group["params"]
    }
    groups = json.loads((shared / "oracle" / "utils_oracle.json").read_text())["groups_finetune_depth2"]
    theirs = {
        name: (group["weight_decay"], group["lr_scale"]) for group in groups for name in group["params"]
    }
    assert ours.pop("lg_region_tokens") == (0.0, 0.75**3) and theirs.pop("lg_region_tokens") == (0.0, 1.0)
    assert ours == theirs


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


@pytest.mark.real
def test_all_575_and_519_names_and_shapes_map_one_to_one(shared):
    mae = on_meta(build_mae, "lgi_former_base_patch16_160")
    classifier = on_meta(LGIFormer, num_classes=7)
    for model, file, count in ((mae, "keys_pretrain_full", 575), (classifier, "keys_finetune_full", 519)):
        official = {
            name: tuple(shape) for name, shape in json.loads((shared / f"oracle/{file}.json").read_text())
        }
        assert len(official) == count
        assert {name: tuple(t.shape) for name, t in to_official(model.state_dict()).items()} == official
        ours = [name for key in official for name in our_names(key)]
        assert sorted(ours) == sorted(model.state_dict())
        assert {official_name(name) for name in ours} == official.keys()


# A block and the ends of VideoMAE's pre-training and fine-tuning checkpoints, by hand.
JOINT_BLOCK = {
    *(f"norm{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
    *(f"attn.{name}" for name in ("q_bias", "v_bias", "qkv.weight", "proj.weight", "proj.bias")),
    *(f"mlp.fc{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
}
ENDS = {f"{part}.{kind}" for part in ("patch_embed.proj", "norm") for kind in ("weight", "bias")}


@pytest.fixture
def joint_pretraining(build_tiny_mae):
    return build_tiny_mae(architecture="vit_joint_tiny_patch8_64")


def test_joint_attention_checkpoints_have_videomaes_names(joint_pretraining, build_tiny):
    names = set(to_official(joint_pretraining.state_dict()))
    blocks = {f"encoder.blocks.{i}.{name}" for i in range(2) for name in JOINT_BLOCK}
    blocks |= {f"decoder.blocks.0.{name}" for name in JOINT_BLOCK}
    ends = {f"encoder.{name}" for name in ENDS} | {"mask_token", "encoder_to_decoder.weight"}
    decoder = {f"decoder.{part}.{kind}" for part in ("norm", "head") for kind in ("weight", "bias")}
    assert names == blocks | ends | decoder
    classifier = build_tiny("vit_joint_tiny_patch8_64", num_classes=3)
    ends = {
        f"{part}.{kind}" for part in ("patch_embed.proj", "fc_norm", "head") for kind in ("weight", "bias")
    }
    blocks = {f"blocks.{i}.{name}" for i in range(2) for name in JOINT_BLOCK}
    assert set(to_official(classifier.state_dict())) == ends | blocks


SIZES = {"img_size": 32, "num_frames": 8, "num_heads": 2}


def wrappers(state, tmp_path):
    """The forms in which upstream's scripts, DeepSpeed and DDP leave a state dict."""
    options = argparse.Namespace(lr=1e-3, model="pretrain_videomae_base_dim512_no_depth_patch16_160")
    torch.save(
        {"model": state, "optimizer": {"state": {}}, "epoch": "best", "args": options}, tmp_path / "c.pth"
    )
    yield state
    yield {"module": state, "epoch": 3}
    yield {
        "model": OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()),
        "args": options,
    }
    yield tmp_path / "c.pth"
    yield str(tmp_path / "c.pth")


@pytest.mark.parametrize("architecture", ["lgi_former_tiny_patch8_64", "vit_joint_tiny_patch8_64"])
def test_round_trips_of_both_kinds_in_every_wrapping(
    build_tiny_mae, build_tiny, clip, architecture, tmp_path
):
    mae = build_tiny_mae(architecture=architecture)
    classifier = build_tiny(architecture, num_classes=3, pool="token")
    sizes = {"region_size": (2, 2, 4), **SIZES}
    for form in wrappers(to_official(mae.state_dict()), tmp_path):
        found = from_official(form, **sizes, decoder_num_heads=2)
        assert isinstance(found, MaskedAutoencoder) and type(found.encoder) is type(mae.encoder)
        ours = mae.state_dict()
        assert all(torch.equal(tensor, ours[name]) for name, tensor in found.state_dict().items())
    for form in wrappers(to_official(classifier.state_dict()), tmp_path):
        torch.testing.assert_close(from_official(form, **sizes, pool="token")(clip), classifier(clip))


def test_a_classifier_pools_what_its_kind_has(build_tiny):
    for architecture, kind, pool in (
        ("lgi_former_tiny_patch8_64", LGIFormer, "region"),
        ("vit_joint_tiny_patch8_64", JointViT, "token"),
    ):
        state = to_official(build_tiny(architecture, num_classes=3).state_dict())
        found = from_official(
            {f"backbone.{name}": tensor for name, tensor in state.items()}, (2, 2, 4), **SIZES
        )
        assert type(found) is kind and found.pool_mode == pool and found.num_classes == 3


def test_heads_are_64_wide_unless_told(build_tiny):
    wide = build_tiny(embed_dim=128, num_heads=2, num_classes=3)
    state = to_official(wide.state_dict())
    assert from_official(state, (2, 2, 4), img_size=32, num_frames=8).num_heads == 2
    narrow = to_official(build_tiny(num_classes=3).state_dict())
    with pytest.raises(ValueError, match=r"^num_heads: .* width 24 is not a multiple of 64"):
        from_official(narrow, (2, 2, 4), img_size=32, num_frames=8)


def test_converted_checkpoints_load_as_folders(build_tiny_mae, build_tiny, clip, tmp_path):
    mae, classifier = build_tiny_mae(), build_tiny(num_classes=3)
    options = {"region_size": (2, 2, 4), **SIZES}
    torch.save({"model": to_official(mae.state_dict())}, tmp_path / "pretrained.pth")
    torch.save({"model": to_official(classifier.state_dict())}, tmp_path / "finetuned.pth")
    assert (
        convert(tmp_path / "pretrained.pth", tmp_path / "run", **options, decoder_num_heads=2).name
        == "encoder"
    )
    assert convert(tmp_path / "finetuned.pth", tmp_path / "run", **options).name == "classifier"
    torch.testing.assert_close(load_encoder(tmp_path / "run")(clip), mae.encoder(clip))
    torch.testing.assert_close(load_classifier(tmp_path / "run")(clip), classifier(clip))
    direct = load_encoder(tmp_path / "pretrained.pth", **options, decoder_num_heads=2)
    torch.testing.assert_close(direct(clip), mae.encoder(clip))
