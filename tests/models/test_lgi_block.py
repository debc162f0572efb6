"""The variants of the LGI block: the plain loop, sizes and costs, what trains, what is refused."""

from itertools import product

import pytest
import torch
from helpers import reference
from torch.utils.flop_counter import FlopCounterMode

from maedfer.models import build_encoder, region_tube_mask
from maedfer.models.config import ModelConfig, OutputSpec
from maedfer.models.lgi_block import INTRA_REGION, LOCAL_GLOBAL, SHARE_ATTENTION, Stages
from maedfer.models.official import from_official, to_official
from maedfer.models.weights import load_classifier, load_encoder, save_encoder

FLAGS = ("intra_region", "inter_region", "local_global", "share_attention")
EVERY = [
    dict(zip(FLAGS, words, strict=True))
    for words in product(INTRA_REGION, (True, False), LOCAL_GLOBAL, SHARE_ATTENTION)
]
NOTHING_TO_SHARE = [
    stages
    for stages in EVERY
    if (stages["share_attention"] == "first_third" and stages["local_global"] == "none")
    or (
        stages["share_attention"] == "all" and stages["local_global"] == "none" and not stages["inter_region"]
    )
]
VARIANTS = [stages for stages in EVERY if stages not in NOTHING_TO_SHARE]
LONELY = {"intra_region": "cross", "local_global": "none"}


def label(stages):
    return "-".join(str(word) for word in stages.values())


def is_lonely(stages):
    return LONELY.items() <= stages.items()


def test_all_variants_are_here():
    assert len(EVERY) == 36 and len(NOTHING_TO_SHARE) == 6


@pytest.mark.parametrize("stages", VARIANTS, ids=label)
def test_features_equal_the_plain_loop(build_tiny, clip, stages):
    model = build_tiny(**stages).double()
    p = to_official({name: value.detach() for name, value in model.named_parameters()})
    features = model.forward_features(clip[:1].double())
    regions, local = reference.encode(
        clip[0].double(), range(64), p, (4, 4, 4), (2, 2, 4), 8, heads=2, depth=2, **stages
    )
    torch.testing.assert_close(features.region_tokens[0], regions, rtol=1e-9, atol=1e-9)
    expected = torch.stack([local[n] for n in range(64)])
    torch.testing.assert_close(features.tokens[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stages", VARIANTS, ids=label)
def test_evaluation_skips_work_but_not_the_result(build_tiny, clip, stages):
    model = build_tiny(num_classes=7, **stages)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), model.forward_head(model.forward_features(clip)))


@pytest.mark.parametrize("pool", ["region", "token", "all"])
@pytest.mark.parametrize("stages", VARIANTS, ids=label)
def test_what_is_not_frozen_gets_a_gradient_and_nothing_else_is_frozen(build_tiny, clip, stages, pool):
    if pool == "token" and is_lonely(stages):
        with pytest.raises(ValueError, match="leaves every local token alone"):
            build_tiny(num_classes=3, pool=pool, **stages)
        return
    model = build_tiny(num_classes=3, pool=pool, **stages).train()
    model(clip).square().sum().backward()
    unseen = unmoved(model)
    model.freeze_unread()
    assert unseen == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert all(name.startswith("blocks.1.") for name in unseen)


@pytest.mark.parametrize("stages", VARIANTS, ids=label)
def test_pretraining_moves_every_parameter_or_freezes_it(build_tiny_mae, clip, stages):
    if is_lonely(stages):
        with pytest.raises(ValueError, match="nothing can be pre-trained"):
            build_tiny_mae(**stages)
        return
    mae = build_tiny_mae(**stages).train()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75, torch.Generator().manual_seed(0))
    mae(clip, mask).loss.backward()
    unseen = unmoved(mae)
    mae.encoder.freeze_unread({"local"})
    assert unseen == {name for name, parameter in mae.named_parameters() if not parameter.requires_grad}
    dead_end = stages["local_global"] == "none" and stages["inter_region"]
    assert bool(unseen) is dead_end
    assert all(name.startswith("encoder.blocks.1.inter_region_") for name in unseen)


def unmoved(model):
    """Names of the parameters that a backward pass left alone."""
    return {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}


@pytest.mark.parametrize(
    ("stages", "parameters", "macs"),
    [
        ({}, 84_878_343, 49.65),
        ({"intra_region": "cross"}, 84_878_343 + 16 * 2 * 512, 41.55),
        ({"local_global": "self"}, 84_878_343 - 16 * 2 * 512, 57.66),
        ({"inter_region": False}, 68.1, 49.52),
        ({"local_global": "none"}, 68.0, 42.77),
        ({"inter_region": False, "local_global": "none"}, 51.2, 42.63),
        ({"share_attention": "first_third"}, 68.1, 49.65),
        ({"share_attention": "all"}, 51.3, 49.65),
    ],
)
def test_sizes_and_costs_are_those_of_upstream(stages, parameters, macs):
    """Figures of upstream's own modules, counted the same way; those to a tenth of a million are rounded.

    The second block costs what each of the other 14 does.
    """
    (least, cheapest), (more, dearer) = (counted(depth, stages) for depth in (1, 2))
    found = least + 15 * (more - least)
    assert (round(found / 1e6, 1) if isinstance(parameters, float) else found) == parameters
    assert round((cheapest + 15 * (dearer - cheapest)) / 2e9, 2) == macs


def counted(depth, stages):
    """Parameters of a published classifier of so many blocks, and operations of a pass through it."""
    args = {"num_classes": 7, "depth": depth, **stages}
    with torch.device("meta"):
        model = build_encoder("lgi_former_base_patch16_160", args).to("meta").train()
        clip = torch.empty(1, 3, 16, 160, 160)
    with FlopCounterMode(display=False) as counter:
        model(clip)
    return sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops()


@pytest.mark.parametrize("share", ["first_third", "all"])
def test_shared_weights_are_saved_once_and_come_back(build_tiny, clip, tmp_path, share):
    args = {"share_attention": share, "num_classes": 2}
    model = build_tiny(**args)
    shape = {
        name: getattr(model, name)
        for name in ("img_size", "num_frames", "patch_size", "embed_dim", "num_heads", "region_size")
    }
    save_encoder(
        model,
        tmp_path,
        ModelConfig(
            "lgi_former_tiny_patch8_64",
            {**shape, "depth": 2, "share_attention": share},
            output=OutputSpec("classify", ("a", "b")),
        ),
    )
    again = load_classifier(tmp_path)
    torch.testing.assert_close(again(clip), model(clip), rtol=0, atol=0)
    assert load_encoder(tmp_path).stages == model.stages
    with pytest.raises(ValueError, match=r"inter_region_attn|local_global_attn"):
        load_classifier(tmp_path, share_attention="none")


@pytest.mark.parametrize("stages", VARIANTS, ids=label)
def test_a_variant_goes_to_upstreams_names_and_back(build_tiny, clip, stages):
    model = build_tiny(num_classes=2, **stages)
    official = to_official(model.state_dict())
    parts = {name.split(".")[2] for name in official if name.startswith("blocks.1.")}
    assert ("second_attn" in parts) is stages["inter_region"]
    assert ("third_attn" in parts) is (stages["local_global"] != "none")
    again = from_official(official, (2, 2, 4), num_heads=2, img_size=32, num_frames=8)
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(again(clip), model(clip), rtol=0, atol=0)


def test_checkpointing_and_drop_path_go_with_every_variant(build_tiny, clip):
    for stages in VARIANTS:
        plain, saving = (build_tiny(num_classes=2, drop_path_rate=0.5, **stages).train() for _ in range(2))
        saving.set_grad_checkpointing()
        for model in (plain, saving):
            torch.manual_seed(1)
            model(clip).square().sum().backward()
        for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("stages", NOTHING_TO_SHARE, ids=label)
def test_weights_with_nothing_to_share_them_with_are_refused(stages):
    with pytest.raises(ValueError, match="shares nothing with inter_region"):
        Stages(**stages)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"intra_region": "none"}, "^intra_region: 'none' is not one of"),
        ({"local_global": "both"}, "^local_global: 'both' is not one of"),
        ({"share_attention": "second"}, "^share_attention: 'second' is not one of"),
        ({"inter_region": "no"}, "inter_region='no' must be true or false"),
        ({"intra_regions": "self"}, "takes no 'intra_regions'; did you mean intra_region"),
    ],
)
def test_unknown_stages_are_refused_by_name(build_tiny, stages, message):
    with pytest.raises(ValueError, match=message):
        build_tiny(**stages)


@pytest.mark.long
def test_a_variant_compiles_to_one_graph(build_tiny, clip):
    stages = {"intra_region": "cross", "local_global": "self", "share_attention": "all"}
    model = build_tiny(num_classes=3, depth=1, **stages)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(compiled(clip), model(clip))
