"""LGI-Former against the plain loop, its token orders, drop path, and timm's contract for both encoders."""

import pytest
import timm
import torch
from helpers import reference
from timm.optim import param_groups_layer_decay
from torch import nn

from maedfer.models.official import to_official

BOTH = pytest.mark.parametrize("architecture", ["lgi_former_tiny_patch8_64", "vit_joint_tiny_patch8_64"])


@pytest.mark.parametrize("region", [(2, 2, 4), (2, 2, 2), (1, 4, 4), (4, 4, 4), (1, 1, 1)])
def test_features_equal_the_plain_loop_in_raster_order(build_tiny, clip, region):
    model = build_tiny(region_size=region).double()
    p = to_official({name: value.detach() for name, value in model.named_parameters()})
    features = model.forward_features(clip.double())
    for i in range(2):
        tokens = range(64)
        regions, local = reference.encode(clip[i].double(), tokens, p, (4, 4, 4), region, 8, heads=2, depth=2)
        torch.testing.assert_close(features.region_tokens[i], regions, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            features.tokens[i], torch.stack([local[n] for n in tokens]), rtol=1e-9, atol=1e-9
        )


def test_some_visible_tokens_equal_the_plain_loop_in_the_order_asked_for(build_tiny, clip):
    model = build_tiny(region_size=(2, 2, 2)).double()
    p = to_official({name: value.detach() for name, value in model.named_parameters()})
    visible = three_of_each(model.layout.region_order.view(8, 8))
    features = model.forward_visible(clip.double(), visible)
    for i in range(2):
        _, local = reference.encode(
            clip[i].double(), visible[i].tolist(), p, (4, 4, 4), (2, 2, 2), 8, heads=2, depth=2
        )
        expected = torch.stack([local[n] for n in visible[i].tolist()])
        torch.testing.assert_close(features.tokens[i], expected, rtol=1e-9, atol=1e-9)


def three_of_each(regions: torch.Tensor) -> torch.Tensor:
    """Three random tokens of every region (R, n) in two clips: an even choice that is no tube, (2, 3 * R)."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(2, *regions.shape, generator=generator).argsort(dim=-1)[..., :3]
    return regions.expand(2, -1, -1).gather(2, chosen).flatten(1).sort(dim=1).values


@BOTH
def test_all_tokens_visible_is_the_whole_clip(build_tiny, clip, architecture):
    model = build_tiny(architecture)
    everything = torch.arange(64).expand(2, -1)
    torch.testing.assert_close(model.forward_visible(clip, everything), model.forward_features(clip))


def test_visible_tokens_must_be_even(build_tiny, clip):
    with pytest.raises(ValueError, match="between 1 and 3 tokens per region"):
        build_tiny().forward_visible(clip, torch.tensor([[0, 1, 2, 8, 32, 33, 40, 41]] * 2))


@pytest.mark.parametrize("pool", ["region", "token", "all"])
def test_evaluation_without_gradients_skips_work_but_not_the_result(build_tiny, clip, pool):
    model = build_tiny(num_classes=7, pool=pool)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), model.forward_head(model.forward_features(clip)))
        torch.testing.assert_close(build_tiny(pool=pool)(clip), build_tiny(pool=pool).train()(clip))


def test_training_gives_every_parameter_a_gradient_and_the_unseen_ones_zero(build_tiny, clip):
    model = build_tiny(num_classes=7).train()
    model(clip).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    unseen = {name for name in gradients if name.startswith("blocks.1.local_global")}
    assert len(unseen) == 10
    assert all((gradients[name] == 0).all() == (name in unseen) for name in gradients)


def test_drop_path_drops_single_regions_in_the_first_stage(build_tiny):
    torch.manual_seed(0)
    block = build_tiny(drop_path_rate=0.5).blocks[1].train()
    for name in ("inter_region_attn", "local_global_attn", "mlp"):
        setattr(block, name, Zero())
    x = torch.randn(40, 17, 24)  # 10 clips of 4 regions
    changed = (block(x) != x).flatten(1).any(dim=1).view(10, 4)
    assert 8 < changed.sum() < 32
    assert not torch.equal(changed.any(dim=1), changed.all(dim=1))


class Zero(nn.Module):
    """A stage that adds nothing."""

    def forward(self, query, context=None):
        return torch.zeros_like(query)


@BOTH
def test_intermediates_are_the_blocks_in_raster_order(build_tiny, clip, architecture):
    model = build_tiny(architecture)
    final, every = model.forward_intermediates(clip, norm=True)
    features = model.forward_features(clip)
    torch.testing.assert_close(final, features)
    torch.testing.assert_close(every[-1], features.tokens)
    (first,) = model.forward_intermediates(clip, [0], norm=True, stop_early=True, intermediates_only=True)
    assert torch.equal(first, every[0])
    (maps,) = model.forward_intermediates(clip, 1, norm=True, output_fmt="NCHW", intermediates_only=True)
    assert torch.equal(maps, features.tokens.transpose(1, 2).reshape(2, 24, 4, 4, 4))
    for wrong in ([2], 3, []):
        with pytest.raises(ValueError, match=r"blocks 0\.\.1"):
            model.forward_intermediates(clip, wrong)
    with pytest.raises(ValueError, match=r"^output_fmt: 'NHWC'"):
        model.forward_intermediates(clip, output_fmt="NHWC")


@BOTH
def test_heads_come_and_go(build_tiny, clip, architecture):
    model = build_tiny(architecture)
    assert model(clip).shape == (2, 24) and isinstance(model.norm, nn.LayerNorm)
    model.reset_classifier(5)
    assert isinstance(model.norm, nn.Identity) and isinstance(model.fc_norm, nn.LayerNorm)
    assert model(clip).shape == (2, 5) and model.get_classifier().out_features == model.num_classes == 5
    model.fc_norm.weight.data.fill_(2.0)
    pooled = model.forward_head(model.forward_features(clip), pre_logits=True)
    model.reset_classifier(0)
    torch.testing.assert_close(model(clip), pooled)
    model.reset_classifier(3, "token")
    assert model.pool_mode == "token" and (model.fc_norm.weight == 2).all()
    with pytest.raises(ValueError, match=r"^num_classes: -1"):
        model.reset_classifier(-1)


@BOTH
def test_pooling_is_a_bare_mean(build_tiny, clip, architecture):
    model = build_tiny(architecture)
    features = model.forward_features(clip)
    torch.testing.assert_close(model.pool(features, "token"), features.tokens.mean(1))
    both = torch.cat((features.region_tokens, features.tokens), dim=1)
    torch.testing.assert_close(model.pool(features, "all"), both.mean(1))
    with pytest.raises(ValueError, match=r"^pool: 'max'"):
        model.pool(features, "max")


def test_layer_decay_orders_stem_blocks_and_head(build_tiny):
    model = build_tiny(num_classes=7)
    groups = param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.5)
    of = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert of[id(model.region_tokens)] == (0.125, 0.0)
    assert of[id(model.patch_embed.proj.weight)] == (0.125, 0.05)
    assert of[id(model.blocks[0].mlp.fc1.weight)] == (0.25, 0.05)
    assert of[id(model.blocks[1].mlp.fc1.weight)] == (0.5, 0.05)
    assert of[id(model.head.weight)] == (1.0, 0.05)
    assert of[id(model.fc_norm.weight)] == (1.0, 0.0)


@BOTH
def test_timms_feature_wrapper_takes_it(build_tiny, architecture):
    wrapper = timm.create_model(
        architecture, features_only=True, out_indices=(1, -1), img_size=64, num_frames=4
    )
    first, last = wrapper(torch.randn(1, 3, 4, 64, 64))
    assert first.shape == last.shape == (1, 96, 2, 8, 8)
    assert wrapper.feature_info.channels() == [96, 96]


def test_a_clip_of_another_size_is_refused_by_number(build_tiny):
    with pytest.raises(ValueError, match=r"clip is \(1, 3, 8, 24, 24\).*\(B, 3, 8, 32, 32\)"):
        build_tiny()(torch.randn(1, 3, 8, 24, 24))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_heads": 5}, "^num_heads: 5 does not divide the width 24"),
        ({"patch_size": 7}, "^patch_size: 7 does not divide img_size=32"),
        ({"num_frames": 7}, "^tubelet_size: 2 does not divide num_frames=7"),
        ({"pool": "cls"}, "^pool: 'cls'"),
        ({"region_size": (2, 3, 4)}, r"^region_size: \(2, 3, 4\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build_tiny, args, message):
    with pytest.raises(ValueError, match=message):
        build_tiny(**args)


@BOTH
def test_half_and_double_precision_run(build_tiny, clip, architecture):
    exact = build_tiny(architecture, num_classes=3).double()(clip.double())
    assert exact.dtype == torch.float64
    rough = build_tiny(architecture, num_classes=3).bfloat16()(clip.bfloat16())
    torch.testing.assert_close(rough.double(), exact, rtol=0.2, atol=0.2)


@pytest.mark.long
@BOTH
def test_every_way_through_an_encoder_is_one_graph(build_tiny, clip, architecture):
    model = build_tiny(architecture, num_classes=3, drop_path_rate=0.5)
    # Three tokens of each of the four regions, or of any of them where all tokens are one region.
    visible = torch.tensor([[1, 2, 3, 8, 9, 10, 32, 33, 34, 40, 41, 42]] * 2)
    for way, *more in ((model.forward_features,), (model.forward_visible, visible), (model,)):
        expected = way(clip, *more)
        torch.testing.assert_close(one_graph(way)(clip, *more), expected)
        with torch.no_grad():  # where `forward` skips work
            torch.testing.assert_close(one_graph(way)(clip, *more), expected)


@pytest.mark.long
@BOTH
def test_a_training_step_of_a_classifier_is_one_graph(build_tiny, clip, architecture):
    model = build_tiny(architecture, num_classes=3, drop_path_rate=0.5, drop_rate=0.5).train()
    gradients = []
    for way in (model, one_graph(model)):
        torch.manual_seed(0)
        way(clip).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        model.zero_grad()
    assert any(gradient.abs().max() > 0 for gradient in gradients[0])
    torch.testing.assert_close(gradients[1], gradients[0])


def one_graph(way):
    """Compiled to a single graph, which fails where there would be a break, and run as it is."""
    torch.compiler.reset()
    return torch.compile(way, fullgraph=True, backend="eager")
