"""Parameter groups of AdamW against those of upstream's own code: ours, and the official ones."""

import json

import pytest
import torch

from maedfer.errors import UserError
from maedfer.models.official import official_name
from maedfer.training.finetuning.module import FineTuning
from maedfer.training.pretraining.module import MaskedPretraining

NAME = "lgi_former_tiny_patch8_64"
SMALL = {"img_size": 32, "num_frames": 8, "patch_size": 8, "region_size": [2, 2, 4], "embed_dim": 8}
SMALL |= {"depth": 2, "num_heads": 2}
DECODER = {"decoder_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2}


@pytest.fixture(scope="module")
def oracle(shared):
    return json.loads((shared / "oracle" / "utils_oracle.json").read_text())


def fine_tuning(pool="all", model_args=SMALL, **settings):
    module = FineTuning(NAME, model_args, pool=pool, **settings)
    module.build("classify", tuple("abcdefg"), torch.eye(7), None)
    return module


def ours(model, groups, peak=1.0):
    """(weight decay, rate, official names) of each group, in order of all three."""
    names = {id(parameter): official_name(name) for name, parameter in model.named_parameters()}
    rows = [
        (
            group["weight_decay"],
            group.get("lr", peak) / peak,
            sorted({names[id(parameter)] for parameter in group["params"]}),
        )
        for group in groups
    ]
    return sorted(rows)


def theirs(groups):
    return sorted((group["weight_decay"], group["lr_scale"], sorted(group["params"])) for group in groups)


def of_name(rows, name):
    """Where a parameter is: weight decay and rate; it is in one group only."""
    (found,) = [(decay, rate) for decay, rate, names in rows if name in names]
    return found


def without(rows, name):
    return [(decay, rate, [other for other in names if other != name]) for decay, rate, names in rows]


@pytest.mark.real
def test_official_groups_of_pretraining_are_upstreams(oracle):
    module = MaskedPretraining(NAME, SMALL, **DECODER, region_tokens="official")
    found, expected = ours(module.mae, module.parameter_groups()), theirs(oracle["groups_pretrain"])
    assert found == expected and [len(names) for _, _, names in found] == [58, 30]
    assert [[*of_name(found, "encoder.lg_region_tokens")]] == oracle["region_token_group"]["pretrain"]
    assert [[*of_name(found, "mask_token")]] == oracle["region_token_group"]["mask_token"]


@pytest.mark.real
def test_correct_groups_of_pretraining_spare_the_representative_tokens(oracle):
    module, name = MaskedPretraining(NAME, SMALL, **DECODER), "encoder.lg_region_tokens"
    found, expected = ours(module.mae, module.parameter_groups()), theirs(oracle["groups_pretrain"])
    assert of_name(found, name) == (0.0, 1.0)
    assert without(found, name) == without(expected, name)


@pytest.mark.real
@pytest.mark.parametrize("peak", [1.0, 3.75e-4])
def test_official_groups_of_fine_tuning_are_upstreams(oracle, peak):
    module = fine_tuning(region_tokens="official")
    found = ours(module.classifier, module.parameter_groups(peak), peak)
    expected = theirs(oracle["groups_finetune_depth2"])
    assert [(d, names) for d, _, names in found] == [(d, names) for d, _, names in expected]
    assert [rate for _, rate, _ in found] == pytest.approx([rate for _, rate, _ in expected], rel=1e-12)
    assert len(found) == 8
    assert [[*of_name(found, "lg_region_tokens")]] == oracle["region_token_group"]["finetune"]


@pytest.mark.real
def test_correct_groups_of_fine_tuning_take_the_tokens_for_a_part_of_the_stem(oracle):
    module, name = fine_tuning(), "lg_region_tokens"
    found = ours(module.classifier, module.parameter_groups(1.0))
    assert of_name(found, name) == (0.0, 0.75**3) == of_name(found, "patch_embed.proj.bias")
    assert without(found, name) == without(theirs(oracle["groups_finetune_depth2"]), name)


@pytest.mark.real
def test_the_published_depth_has_upstreams_18_rates(oracle):
    module = fine_tuning(model_args=SMALL | {"depth": 16}, region_tokens="official")
    groups = module.parameter_groups(1.0)
    assert sorted({group["lr"] for group in groups}) == pytest.approx(
        oracle["layer_decay_depth16"], rel=1e-12
    )


def test_official_groups_hold_every_trained_parameter_once():
    for pool in ("region", "token", "attentive"):
        for layer_decay in (0.5, 1.0):
            module = fine_tuning(pool, region_tokens="official", layer_decay=layer_decay)
            held = [id(p) for group in module.parameter_groups(1.0) for p in group["params"]]
            assert sorted(held) == sorted(id(p) for p in module.parameters() if p.requires_grad)
            assert all(group["params"] for group in module.parameter_groups(1.0))


def test_nothing_changes_where_there_are_no_tokens_to_train():
    joint = {"img_size": 32, "embed_dim": 8, "depth": 2, "num_heads": 2}
    cases = (("vit_joint_tiny_patch8_64", joint, "token", False), (NAME, SMALL, None, True))
    for architecture, model_args, pool, freeze in cases:
        rows = []
        for region_tokens in ("correct", "official"):
            module = FineTuning(
                architecture, model_args, pool=pool, freeze_encoder=freeze, region_tokens=region_tokens
            )
            module.build("classify", ("a", "b"), torch.eye(2), None)
            rows.append(ours(module.classifier, module.parameter_groups(1.0)))
        assert rows[0] == rows[1]


@pytest.mark.parametrize("kind", [FineTuning, MaskedPretraining])
def test_an_unknown_setting_is_refused(kind):
    with pytest.raises(UserError, match=r"^region_tokens: "):
        kind(NAME, SMALL, region_tokens="upstream")


@pytest.mark.parametrize(
    ("parameter", "settings"),
    [
        ("layer_decay", {"layer_decay": 1.1}),
        ("layer_decay", {"layer_decay": 0}),
        ("label_smoothing", {"label_smoothing": 1}),
        ("erasing", {"erasing": 2}),
        ("optimizer", {"optimizer": "muon", "freeze_encoder": True}),
    ],
)
def test_settings_out_of_range_are_refused(parameter, settings):
    with pytest.raises(UserError) as caught:
        FineTuning(NAME, SMALL, **settings)
    assert caught.value.parameter == parameter
