"""Both ways to a cheaper step, alone and together: fewer predicted tokens, mask tokens that see no others."""

import pytest
import torch
from helpers import reference
from timm.optim import param_groups_weight_decay
from torch.utils.flop_counter import FlopCounterMode

from maedfer.models import build_mae, region_tube_mask
from maedfer.models.masking import draw_predicted
from maedfer.models.official import to_official

COMBINATIONS = [(attention, share) for attention in ("joint", "cross") for share in (1, 3)]
"""Attention of the decoder, and one in how many masked tokens is predicted."""

UPSTREAM_FLOPS = 28.05e9
"""Forward pass of a clip at the published size, 90 % masked: twice the multiplications and additions."""


@pytest.fixture(params=COMBINATIONS, ids=lambda pair: f"{pair[0]}-one-in-{pair[1]}")
def cheap(request, build_tiny_mae):
    """A builder of the combination, a mask for it, and the places that it predicts."""
    attention, share = request.param
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75, torch.Generator().manual_seed(0))
    predicted = None if share == 1 else draw_predicted([4, 5], 48, 48 // share)
    settings = {"decoder_attention": attention, "decoder_depth": 2}
    return lambda: build_tiny_mae(settings), mask, predicted


@pytest.mark.parametrize(("attention", "share"), COMBINATIONS)
@pytest.mark.parametrize("region", [(2, 2, 4), (2, 2, 2), (4, 4, 2)])
def test_losses_and_gradients_equal_the_plain_loop_over_the_predicted_tokens(
    build_tiny_mae, clip, region, attention, share
):
    settings = {"appearance_weight": 0.7, "target_std_floor": 0.05, "decoder_depth": 2}
    mae = build_tiny_mae(settings | {"decoder_attention": attention}, region_size=region).double()
    clip, mask = clip.double(), region_tube_mask(2, (4, 4, 4), region, 0.75)
    predicted = None if share == 1 else draw_predicted([1, 2], 48, 48 // share)
    out = mae(clip, mask, predicted=predicted)
    out.loss.backward()

    p = {name: value.detach().clone().requires_grad_() for name, value in by_reference(mae).items()}
    places = torch.arange(48).expand(2, -1) if predicted is None else predicted
    tokens = [[mask[i].nonzero().flatten()[place].item() for place in places[i]] for i in range(2)]
    shape = {"grid": (4, 4, 4), "region": region, "patch": 8, "heads": 2, "depth": 2}
    decoder = {"decoder_heads": 2, "decoder_depth": 2}
    predict = reference.predict if attention == "joint" else reference.predict_crosswise
    pred = torch.stack([predict(clip[i], mask[i], p, tokens=tokens[i], **shape, **decoder) for i in range(2)])
    target = torch.stack(
        [torch.stack([reference.target(clip[i], n, (4, 4, 4), 8, 0.05) for n in tokens[i]]) for i in range(2)]
    )
    appearance, motion = (pred - target).square().tensor_split(2, dim=-1)
    loss = 0.7 * appearance.mean() + 0.3 * motion.mean()
    loss.backward()

    close = {"rtol": 1e-9, "atol": 1e-9}
    assert out.pred.shape == (2, 48 // share, 384)
    torch.testing.assert_close(out.pred, pred, **close)
    torch.testing.assert_close(out.target, target, **close)
    torch.testing.assert_close(out.loss, loss, **close)
    for name, gradient in by_reference(mae, lambda parameter: parameter.grad).items():
        torch.testing.assert_close(gradient, p[name].grad, **close)


def by_reference(mae, value=lambda parameter: parameter):
    """Parameters, or what belongs to them, by the names that the reference uses."""
    named = {name: value(parameter) for name, parameter in mae.named_parameters()}
    if mae.decoder_attention == "joint":
        return to_official(named)
    decoder = {name: named.pop(name) for name in list(named) if name.startswith("decoder.")}
    return to_official(named) | decoder


def test_every_parameter_gets_a_gradient(cheap, clip):
    build, mask, predicted = cheap
    mae = build()
    mae(clip, mask, predicted=predicted).loss.backward()
    without = [name for name, parameter in mae.named_parameters() if parameter.grad is None]
    assert without == []
    still = [name for name, parameter in mae.named_parameters() if not parameter.grad.any()]
    assert still == []


def test_checkpointing_changes_no_gradient(cheap, clip):
    build, mask, predicted = cheap
    plain, saving = build().train(), build().train()
    saving.set_grad_checkpointing()
    plain(clip, mask, predicted=predicted).loss.backward()
    runs = []
    saving.decoder.blocks[0].register_forward_pre_hook(lambda *_: runs.append("decoder"))
    saving(clip, mask, predicted=predicted).loss.backward()
    assert len(runs) == 2  # once more in the backward pass
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.long
def test_a_step_compiles_to_one_graph(cheap, clip):
    build, mask, predicted = cheap
    mae = build()
    compiled = torch.compile(mae, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clip, mask, 48, predicted), mae(clip, mask, 48, predicted))


def test_the_loss_stays_in_float32_under_autocast(cheap, clip):
    build, mask, predicted = cheap
    mae = build()
    exact = mae(clip, mask, predicted=predicted)
    with torch.autocast("cpu", torch.bfloat16):
        out = mae(clip, mask, predicted=predicted)
    assert out.pred.dtype == torch.bfloat16 and out.loss.dtype == torch.float32
    assert torch.equal(out.target, exact.target)
    torch.testing.assert_close(out.loss, exact.loss, rtol=0.02, atol=0)


def test_weight_decay_leaves_the_same_kinds_of_parameters_alone(cheap):
    mae = cheap[0]()
    spared, decayed = param_groups_weight_decay(mae, 0.05, no_weight_decay_list=mae.no_weight_decay())
    assert (spared["weight_decay"], decayed["weight_decay"]) == (0.0, 0.05)
    names = {id(parameter): name for name, parameter in mae.named_parameters()}
    decayed = {names[id(parameter)] for parameter in decayed["params"]}
    assert decayed == {name for name, parameter in mae.named_parameters() if parameter.ndim > 1} - {
        "mask_token",
        "encoder.region_tokens",
    }


def test_only_joint_attention_says_something_else_when_fewer_are_asked_for(build_tiny_mae, clip):
    mask = region_tube_mask(2, (4, 4, 4), (2, 2, 4), 0.75, torch.Generator().manual_seed(0))
    predicted = draw_predicted([4, 5], 48, 16)
    for attention, same in (("joint", False), ("cross", True)):
        mae = build_tiny_mae({"decoder_attention": attention}).double()  # the target is the same in any case
        few = mae(clip.double(), mask, predicted=predicted)
        whole = mae(clip.double(), mask)
        chosen = torch.stack([whole.pred[i][predicted[i]] for i in range(2)])
        assert torch.allclose(few.pred, chosen, rtol=0, atol=1e-12) is same
        assert torch.equal(few.target, torch.stack([whole.target[i][predicted[i]] for i in range(2)]))


@pytest.mark.long
@pytest.mark.parametrize(
    ("attention", "predicted", "low", "high"),
    [
        # Upstream embeds all 800 tubelets and drops 720 of them, which is 1.13 GFLOP.
        ("joint", 720, 26.9e9, 26.95e9),
        ("joint", 360, 0.6 * UPSTREAM_FLOPS, 0.7 * UPSTREAM_FLOPS),
        ("cross", 120, 0.4 * UPSTREAM_FLOPS, 0.45 * UPSTREAM_FLOPS),
    ],
)
def test_what_a_forward_pass_costs_at_the_published_size(attention, predicted, low, high):
    with torch.device("meta"):
        mae = build_mae("lgi_former_base_patch16_160", decoder_attention=attention)
        visible, masked = mae.split_mask(torch.empty(1, 800, dtype=torch.bool), 720)
        with FlopCounterMode(display=False) as counter:
            mae.predict(torch.empty(1, 3, 16, 160, 160), visible, masked[:, :predicted])
    # Attention is counted: two products of queries and keys each, 16 LGI blocks and 4 of the decoder.
    total = counter.get_total_flops()
    matrices = ("aten.addmm", "aten.mm")
    linear = sum(n for op, n in counter.get_flop_counts()["Global"].items() if str(op) in matrices)
    encoder = 16 * 4 * 512 * (8 * 11 * 11 + 8 * 8 + 80 * 8)
    pairs = (80 + predicted) ** 2 if attention == "joint" else predicted * 80
    assert total - linear == encoder + 4 * 4 * 384 * pairs
    assert low < total <= high
