"""Attention in half precision on a CPU, where few keys take another way than many."""

import pytest
import torch

from maedfer.models.attention import WRITTEN_OUT_KEYS, Attention, CrossAttention, attend


def weighted_values(q, k, v):
    """Softmax attention in float64, one query at a time."""
    rows = []
    for query in q.double().unbind(-2):
        scores = (k.double() * query[..., None, :]).sum(-1) / q.shape[-1] ** 0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        rows.append((weights[..., None] * v.double()).sum(-2))
    return torch.stack(rows, -2)


@pytest.mark.parametrize("keys", [1, 8, 11, WRITTEN_OUT_KEYS, WRITTEN_OUT_KEYS + 1])
@pytest.mark.parametrize(("precision", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_attention_and_its_gradients_equal_the_formula(keys, precision, close):
    generator = torch.Generator().manual_seed(keys)
    sizes = [(2, 3, 5, 16), (2, 3, keys, 16), (2, 3, keys, 16)]
    inputs = [torch.randn(size, generator=generator).to(precision).requires_grad_() for size in sizes]
    expected, found = weighted_values(*inputs), attend(*inputs)
    torch.testing.assert_close(found.double(), expected, rtol=close, atol=close)
    weights = torch.randn(found.shape, generator=generator)
    pairs = [torch.autograd.grad((outcome * weights).sum(), inputs) for outcome in (expected, found)]
    for wanted, gradient in zip(*pairs, strict=True):
        torch.testing.assert_close(gradient.double(), wanted.double(), rtol=close, atol=close)


@pytest.mark.parametrize("layer", [Attention(16, 4), CrossAttention(16, 4)])
def test_autocast_gives_what_full_precision_gives(layer):
    x = torch.randn(2, 20, 16)
    sequences = (x,) if isinstance(layer, Attention) else (x, x[:, :7])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = layer(*sequences)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), layer(*sequences), rtol=0.05, atol=0.02)
