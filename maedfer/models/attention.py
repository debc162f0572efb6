"""Multi-head attention with upstream's parameters: query and value biases, no key bias.

`Attention` has one fused `qkv` matrix and serves joint attention (the decoder, the VideoMAE baseline).
`CrossAttention` has `q` and `kv` apart; LGI-Former uses it for all three of its stages, with the context
equal to the query in the first two. Both run PyTorch's fused kernel instead of upstream's explicit softmax
(difference below 3e-6), except in half precision on a CPU (see `attend`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from maedfer.errors import UserError


def check_heads(dim: int, num_heads: int, parameter: str = "num_heads") -> None:
    """Refuses a width that the heads do not divide.

    Raises:
        UserError: names the parameter and both numbers.
    """
    if num_heads < 1 or dim % num_heads:
        raise UserError(parameter, f"{num_heads} does not divide the width {dim}")


WRITTEN_OUT_KEYS = 512
"""Number of keys up to which a CPU in half precision computes the softmax without the fused kernel."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attends by softmax from (B, heads, Q, d) to (B, heads, K, d): (B, heads, Q, d).

    Uses PyTorch's fused kernel, except for few keys in half precision on a CPU: its backward pass takes two
    to nine times as long there as the three operations by themselves (torch 2.15, 11 to 256 keys).
    """
    if q.device.type == "cpu" and q.dtype.itemsize == 2 and k.shape[-2] <= WRITTEN_OUT_KEYS:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return scores.softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class LinearGivenBias(nn.Linear):
    """Multiplies by a matrix and adds a bias that the caller passes, so that a key can have none.

    A module of its own: sharding (ZeRO 3) gathers weights when a module is called.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:  # type: ignore[override]  # the bias is passed
        """Maps (..., in_features) to (..., out_features)."""
        return F.linear(x, self.weight, bias)


class Attention(nn.Module):
    """Attends within one sequence, (B, N, dim) to (B, N, dim)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.qkv = LinearGivenBias(dim, 3 * dim)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attends within `x` (B, N, dim)."""
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        qkv = self.qkv(x, bias)
        q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=self.num_heads).unbind(0)
        return self.proj(rearrange(attend(q, k, v), "b h n d -> b n (h d)"))


class CrossAttention(nn.Module):
    """Attends from one sequence to another (or to itself): (B, Q, dim) and (B, K, dim) to (B, Q, dim)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = LinearGivenBias(dim, dim)
        self.kv = LinearGivenBias(dim, 2 * dim)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Attends from `query` (B, Q, dim) to `context` (B, K, dim)."""
        q = rearrange(self.q(query, self.q_bias), "b n (h d) -> b h n d", h=self.num_heads)
        bias = torch.cat((torch.zeros_like(self.v_bias), self.v_bias))
        kv = self.kv(context, bias)
        k, v = rearrange(kv, "b n (two h d) -> two b h n d", two=2, h=self.num_heads).unbind(0)
        return self.proj(rearrange(attend(q, k, v), "b h n d -> b n (h d)"))
