"""The masked autoencoder against a plain float64 loop, its checks, its pictures, and compiling it."""

import pytest
import torch
from helpers import reference

from maedfer.models import MaskedAutoencoder, build_mae, region_tube_mask
from maedfer.models.official import to_official

# region, share masked, what else differs from the tiny shape; half widths, one region, deep and flat regions.
CASES = [
    ((2, 2, 4), 0.75, {}),
    ((2, 2, 2), 0.5, {}),
    ((1, 2, 4), 0.9, {}),
    ((4, 4, 2), 0.7, {}),
    ((4, 4, 4), 0.9, {}),
    ((2, 3, 1), 0.67, {"img_size": 24}),
    ((1, 5, 5), 0.8, {"img_size": 40, "num_frames": 4}),
]


def shape_of(mae, region):
    encoder = mae.encoder
    return {
        "grid": encoder.grid,
        "region": region,
        "patch": encoder.patch_size,
        "heads": encoder.num_heads,
        "depth": len(encoder.blocks),
    }


@pytest.mark.parametrize("positions", ["correct", "official"])
@pytest.mark.parametrize(("region", "ratio", "size"), CASES)
def test_forward_losses_and_gradients_equal_the_plain_loop(build_tiny_mae, region, ratio, size, positions):
    settings = {"decoder_positions": positions, "appearance_weight": 0.7, "target_std_floor": 0.05}
    mae = build_tiny_mae(settings, region_size=region, **size).double()
    clip = torch.randn(2, 3, mae.encoder.num_frames, *2 * [mae.encoder.img_size], dtype=torch.float64)
    mask = region_tube_mask(2, mae.encoder.grid, region, ratio, torch.Generator().manual_seed(5))
    out = mae(clip, mask)
    out.loss.backward()

    named = {name: p.detach() for name, p in mae.named_parameters()}
    p = {name: value.clone().requires_grad_() for name, value in to_official(named).items()}
    permuted = positions == "official"
    shape = shape_of(mae, region)
    decoder = {"decoder_heads": 2, "decoder_depth": 1, "permuted": permuted}
    pred = torch.stack([reference.predict(clip[i], mask[i], p, **shape, **decoder) for i in range(2)])
    hidden = [[n for n in range(mask.shape[1]) if mask[i, n]] for i in range(2)]
    grid, patch = shape["grid"], shape["patch"]
    target = torch.stack(
        [torch.stack([reference.target(clip[i], n, grid, patch, 0.05) for n in hidden[i]]) for i in range(2)]
    )
    half = target.shape[-1] // 2
    appearance = (pred - target)[..., :half].pow(2).mean()
    motion = (pred - target)[..., half:].pow(2).mean()
    (0.7 * appearance + 0.3 * motion).backward()

    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(out.pred, pred, **close)
    torch.testing.assert_close(out.target, target, **close)
    torch.testing.assert_close(out.loss_appearance, appearance, **close)
    torch.testing.assert_close(out.loss_motion, motion, **close)
    torch.testing.assert_close(out.loss, 0.7 * appearance + 0.3 * motion, **close)
    for name, gradient in to_official({n: q.grad for n, q in mae.named_parameters()}).items():
        torch.testing.assert_close(gradient, p[name].grad, **close)


def test_upstreams_permutation_changes_only_layouts_with_several_regions_per_deep_slab(build_tiny_mae, clip):
    for region, differs in (((2, 2, 4), True), ((2, 2, 2), True), ((1, 2, 4), False), ((2, 4, 4), False)):
        correct = build_tiny_mae({"decoder_positions": "correct"}, region_size=region)
        official = build_tiny_mae({"decoder_positions": "official"}, region_size=region)
        mask = region_tube_mask(2, (4, 4, 4), region, 0.5, torch.Generator().manual_seed(0))
        same = torch.equal(correct(clip, mask).pred, official(clip, mask).pred)
        assert same is not differs, region


def test_what_is_masked_cannot_be_seen(build_tiny_mae, clip):
    mae = build_tiny_mae()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    changed = mae.reconstruct(clip, mask).masked_input  # grey where masked
    mean, std = (torch.tensor(x).view(3, 1, 1, 1) for x in (reference.MEAN, reference.STD))
    torch.testing.assert_close(
        mae(clip, mask).pred, mae((changed - mean) / std, mask).pred, rtol=0, atol=1e-4
    )


def test_a_known_count_of_masked_tokens_gives_the_same(build_tiny_mae, clip):
    mae = build_tiny_mae()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    torch.testing.assert_close(mae(clip, mask), mae(clip, mask, num_masked=48))
    with pytest.raises(ValueError, match=r"^num_masked: 47, but the mask hides 48"):
        mae(clip, mask, num_masked=47)


def test_uneven_masks_are_refused_by_number(build_tiny_mae, clip):
    mae = build_tiny_mae()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    uneven = mask.clone()
    uneven[0, uneven[0].nonzero()[0]] = False
    with pytest.raises(ValueError, match=r"between 4 and 5 visible tokens.*region_tube_mask"):
        mae(clip, uneven)
    with pytest.raises(ValueError, match=r"^mask: .*must be torch.bool \(clips, 64\)"):
        mae(clip, mask[:, :-1])
    with pytest.raises(ValueError, match="leaves 0 of 16"):
        mae(clip, torch.ones_like(mask))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder_num_heads": 5}, "^decoder_num_heads: 5 does not divide the width 16"),
        ({"appearance_weight": 1.5}, "^appearance_weight: 1.5"),
        ({"target_std_floor": -1.0}, "^target_std_floor: -1.0"),
        ({"decoder_positions": "raster"}, "^decoder_positions: raster"),
    ],
)
def test_settings_out_of_range_are_refused(build_tiny_mae, settings, message):
    with pytest.raises(ValueError, match=message):
        build_tiny_mae(settings)


def test_a_classifier_or_a_flat_tubelet_cannot_be_pretrained(build_tiny):
    with pytest.raises(ValueError, match=r"^num_classes: 7"):
        MaskedAutoencoder(build_tiny(num_classes=7))
    with pytest.raises(ValueError, match=r"^fc_norm: "):
        MaskedAutoencoder(build_tiny(fc_norm=True))
    with pytest.raises(ValueError, match=r"^tubelet_size: 1"):
        MaskedAutoencoder(build_tiny(tubelet_size=1))


def test_joint_attention_takes_a_tube_mask(build_tiny_mae, clip):
    mae = build_tiny_mae(architecture="vit_joint_tiny_patch8_64")
    mask = region_tube_mask(2, mae.encoder.grid, mae.encoder.region_size, 0.9)
    out = mae(clip, mask)
    out.loss.backward()
    assert out.pred.shape == (2, 4 * 14, 384)
    assert all(parameter.grad is not None for parameter in mae.parameters())


@pytest.mark.parametrize("architecture", ["lgi_former_tiny_patch8_64", "vit_joint_tiny_patch8_64"])
def test_checkpointing_changes_no_gradient(build_tiny_mae, clip, architecture):
    mask = region_tube_mask(2, (4, 4, 4), (4, 4, 4), 0.75, torch.Generator().manual_seed(0))
    plain, saving = (build_tiny_mae(architecture=architecture) for _ in range(2))
    if architecture.startswith("lgi"):
        mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75, torch.Generator().manual_seed(0))
    saving.set_grad_checkpointing()
    assert saving.decoder.grad_checkpointing and saving.encoder.grad_checkpointing
    for mae in (plain, saving):
        mae.train()(clip, mask).loss.backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_heads_that_start_at_zero_predict_zero_and_learn(clip):
    shape = {"img_size": 32, "num_frames": 8, "region_size": (2, 2, 4)}
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75, torch.Generator().manual_seed(0))
    default, zeroed = (
        build_mae("lgi_former_tiny_patch8_64", shape, decoder_dim=24, decoder_depth=1, **settings)
        for settings in ({}, {"zero_init_heads": True})
    )
    assert default(clip, mask).pred.std() > 0.1
    first = zeroed(clip, mask)
    assert (first.pred == 0).all()
    torch.testing.assert_close(first.loss, first.target.square().mean())
    first.loss.backward()
    heads = [zeroed.decoder.appearance_head.weight, zeroed.decoder.motion_head.weight]
    assert all(head.grad.abs().max() > 0 for head in heads)
    torch.optim.SGD(zeroed.parameters(), lr=1.0).step()
    zeroed.zero_grad()
    second = zeroed(clip, mask)
    second.loss.backward()
    assert second.loss < first.loss and zeroed.encoder.patch_embed.proj.weight.grad.abs().max() > 0


@pytest.mark.long
def test_a_step_compiles_to_one_graph(build_tiny_mae, clip):
    mae = build_tiny_mae()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    compiled = torch.compile(mae, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clip, mask, num_masked=48), mae(clip, mask))


def test_targets_and_loss_stay_in_float32_under_autocast(build_tiny_mae, clip):
    mae = build_tiny_mae()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    exact = mae(clip, mask)
    with torch.autocast("cpu", torch.bfloat16):
        out = mae(clip, mask)
    assert out.pred.dtype == torch.bfloat16
    assert torch.equal(out.target, exact.target)
    assert out.loss.dtype == torch.float32
    torch.testing.assert_close(out.loss, exact.loss, rtol=0.02, atol=0)


def test_pictures_keep_what_is_visible_and_invert_the_targets(build_tiny_mae, clip):
    mae = build_tiny_mae()
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75)
    pixels = mae.to_pixels(clip)
    # A perfect decoder: it answers with the targets themselves.
    mae.predict = lambda clip, visible, masked: mae.targets(clip, masked)
    perfect = mae.reconstruct(clip, mask)
    torch.testing.assert_close(perfect.reconstruction, pixels, rtol=0, atol=1e-5)
    torch.testing.assert_close(perfect.motion, perfect.motion_original, rtol=0, atol=1e-5)
    assert perfect.original.shape == (2, 3, 8, 32, 32)
    assert perfect.appearance.shape == perfect.motion_original.shape == (2, 3, 4, 32, 32)
    hidden = mask.view(2, 1, 4, 4, 4).repeat_interleave(2, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    hidden = hidden.expand_as(pixels)
    assert (perfect.masked_input[hidden] == 0.5).all()
    torch.testing.assert_close(perfect.masked_input[~hidden], pixels[~hidden])
    real = build_tiny_mae().reconstruct(clip, mask)
    assert all(tensor.min() >= 0 and tensor.max() <= 1 and not tensor.requires_grad for tensor in real)
    torch.testing.assert_close(real.reconstruction[~hidden], pixels[~hidden])


def test_weight_decay_leaves_mask_and_representative_tokens_alone(build_tiny_mae):
    mae = build_tiny_mae()
    assert mae.no_weight_decay() == {"mask_token", "encoder.region_tokens"}
    assert mae.no_weight_decay() <= dict(mae.named_parameters()).keys()
