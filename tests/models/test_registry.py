"""The registered names, their published sizes, and the messages for wrong ones."""

from dataclasses import fields

import pytest
import timm
import torch
from timm.data import resolve_data_config

from maedfer.models import JointViT, LGIFormer, architectures, build_encoder, build_mae


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(name: str, **args) -> torch.nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **args)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("lgi_former_base_patch16_160", 7, 84_878_343),
        ("lgi_former_base_patch16_160", 11, 84_880_395),
        ("lgi_former_base_patch16_160", 0, 84_874_752),
        ("vit_joint_base_patch16_160", 7, 86_232_583),
        ("vit_joint_base_patch16_224", 7, 86_232_583),
        ("vit_joint_base_dim512_patch16_160", 7, 51_221_511),
    ],
)
def test_sizes_are_the_published_ones(name, classes, parameters):
    assert count(on_meta(name, num_classes=classes)) == parameters


def test_the_published_autoencoders_have_their_published_size():
    with torch.device("meta"):
        assert count(build_mae("lgi_former_base_patch16_160")) == 92_760_192
        assert count(build_mae("vit_joint_base_patch16_160")) == 94_210_944


@pytest.mark.parametrize("name", architectures())
def test_every_name_builds_and_tells_timm_its_input(name):
    model = on_meta(name, drop_path_rate=0.1)
    assert model.pretrained_cfg["input_size"] == (3, model.img_size, model.img_size)
    assert name.endswith(f"patch{model.patch_size}_{model.img_size}")
    assert model.default_cfg["architecture"] == name and timm.is_model(name)
    assert model.num_features == model.embed_dim == model.head_hidden_size


def test_arguments_override_a_name_and_lists_will_do():
    plain = on_meta("lgi_former_tiny_patch8_64")
    assert resolve_data_config(model=plain)["input_size"] == (3, 64, 64)
    model = build_encoder(
        "lgi_former_tiny_patch8_64", {"img_size": 48, "region_size": [2, 3, 6], "num_frames": 8}
    )
    assert resolve_data_config(model=model)["input_size"] == (3, 48, 48)
    assert model.grid == (4, 6, 6) and model.region_size == (2, 3, 6) and model.region_tokens.shape == (4, 96)


def test_wrong_names_and_arguments_are_explained():
    with pytest.raises(ValueError, match="did you mean lgi_former_base_patch16_160"):
        build_encoder("lgi_former_base_patch16_16")
    with pytest.raises(ValueError, match=r"^model_args: lgi_former_tiny_patch8_64: .*'img_sze'.*img_size"):
        build_encoder("lgi_former_tiny_patch8_64", {"img_sze": 48})
    with pytest.raises(ValueError, match=r"JointViT takes no 'region_size'"):
        build_encoder("vit_joint_tiny_patch8_64", {"region_size": (2, 4, 8)})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"region_size": "2,5,10"}, r"region_size='2,5,10' must be a list of whole numbers"),
        ({"region_size": 5}, r"region_size=5 must be a list"),
        ({"region_size": [2, "5", 10]}, r"must be a list"),
        ({"region_size": [2, 5]}, r"^region_size: \(2, 5\) must be three"),
        (
            {"img_size": "big"},
            r"^model_args: lgi_former_tiny_patch8_64: img_size='big' must be a whole number",
        ),
        ({"depth": 2.5}, r"depth=2.5 must be a whole number"),
        ({"num_classes": True}, r"num_classes=True must be a whole number"),
        ({"mlp_ratio": "4.0"}, r"mlp_ratio='4.0' must be a number"),
        ({"pool": 1}, r"pool=1 must be a word"),
        ({"fc_norm": "no"}, r"fc_norm='no' must be true or false"),
        ({"patch_size": 0}, r"^patch_size: 0 is not positive"),
    ],
)
def test_values_of_another_type_are_explained_in_one_line(argument, message):
    with pytest.raises(ValueError, match=message) as error:
        build_encoder("lgi_former_tiny_patch8_64", argument)
    assert "\n" not in str(error.value)


def test_every_argument_of_both_encoders_can_be_given_and_none_is_the_default():
    for name, kind in (("lgi_former_tiny_patch8_64", LGIFormer), ("vit_joint_tiny_patch8_64", JointViT)):
        defaults = {field.name: field.default for field in fields(kind.Args) if field.name != "region_size"}
        assert (
            build_encoder(name, defaults | {"img_size": 64, "depth": 1, "patch_size": None}).patch_size == 8
        )


def test_fresh_weights_follow_upstreams_initialisation():
    torch.manual_seed(0)
    encoder, classifier = (build_encoder("lgi_former_tiny_patch8_64", {"num_classes": k}) for k in (0, 7))
    limit = (6 / (96 + 384)) ** 0.5
    assert limit * 0.95 < encoder.blocks[0].mlp.fc1.weight.abs().max() <= limit
    assert encoder.region_tokens.abs().max() <= 0.02 < classifier.region_tokens.abs().max()
    assert classifier.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert classifier.head.weight.std().item() == pytest.approx(0.02 * 0.001, rel=0.1)
    assert all((p == 0).all() for name, p in encoder.named_parameters() if name.endswith("_bias"))
