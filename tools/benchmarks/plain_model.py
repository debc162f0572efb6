"""The plain way to compute MAE-DFER: eager, in the order the paper writes it, as upstream's code does.

All tubelets go through a Conv3d and nine tenths are dropped afterwards, by a boolean mask whose size the
host has to wait for; softmax is written out everywhere; tables are cloned; targets are made for all tubelets.
It works on the parameters of maedfer's own modules, so that both ways must give the same numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from maedfer.constants import IMAGENET_MEAN, IMAGENET_STD
from maedfer.models import LGIFormer, MaskedAutoencoder
from maedfer.models.attention import Attention, CrossAttention
from maedfer.models.lgi_block import LGIBlock
from maedfer.models.vit import JointBlock


def plain_mae(mae: MaskedAutoencoder, clip: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions (B, M, P) of the masked tokens, and the loss.

    Args:
        mae: an LGI-Former with a joint-attention decoder.
        clip: float (B, 3, T, H, W), normalised.
        mask: bool (B, N), True = masked.
    """
    encoder = mae.encoder
    order = encoder.region_order
    tokens = _pick(_embed(encoder, clip)[:, order], ~mask[:, order])
    tokens = _encode(encoder, tokens)[:, :, 1:].flatten(1, 2)
    tokens = mae.encoder_to_decoder(tokens)
    positions = mae.decoder_pos_embed.expand(len(clip), -1, -1).clone().detach()
    shown, hidden = _pick(positions[:, order], ~mask[:, order]), _pick(positions, mask)
    x = torch.cat((tokens + shown, mae.mask_token + hidden), dim=1)
    for block in mae.decoder.blocks:
        x = _joint_block(block, x)
    x = mae.decoder.norm(x[:, -hidden.shape[1] :])
    prediction = torch.cat((mae.decoder.appearance_head(x), mae.decoder.motion_head(x)), dim=-1)
    with torch.autocast(clip.device.type, enabled=False):
        target = _targets(clip, mask, encoder.patch_size, encoder.tubelet_size)
        return prediction, F.mse_loss(prediction.float(), target)


def plain_classifier(model: LGIFormer, clip: Tensor) -> Tensor:
    """Logits (B, K) of whole clips (B, 3, T, H, W), by the mean of the representative tokens."""
    region_tokens = _encode(model, _embed(model, clip)[:, model.region_order])[:, :, 0]
    return model.head(model.fc_norm(region_tokens.mean(dim=1)))


def _embed(encoder: LGIFormer, clip: Tensor) -> Tensor:
    """All tubelets as tokens (B, N, D), with position codes."""
    conv = encoder.patch_embed.proj
    x = F.conv3d(clip, conv.weight, conv.bias, stride=conv.stride)
    return rearrange(x, "b d t h w -> b (t h w) d") + encoder.pos_embed.clone().detach()


def _pick(x: Tensor, chosen: Tensor) -> Tensor:
    """The chosen tokens of every clip, equally many: a boolean gather."""
    return x[chosen].reshape(len(x), -1, x.shape[-1])


def _encode(encoder: LGIFormer, tokens: Tensor) -> Tensor:
    """Region-major tokens (B, R*n, D) through all blocks: (B, R, 1+n, D), the representative token first."""
    regions = encoder.num_regions
    tokens = rearrange(tokens, "b (r n) d -> b r n d", r=regions)
    first = encoder.region_tokens.expand(len(tokens), -1, -1)[:, :, None]
    x = rearrange(torch.cat((first, tokens), dim=2), "b r n d -> (b r) n d")
    for block in encoder.blocks:
        x = _lgi_block(block, x, regions)
    return rearrange(encoder.norm(x), "(b r) n d -> b r n d", r=regions)


def _lgi_block(block: LGIBlock, x: Tensor, regions: int) -> Tensor:
    normed = block.intra_region_norm(x)
    x = x + _cross(block.intra_region_attn, normed, normed)
    representative = rearrange(x[:, 0], "(b r) d -> b r d", r=regions).clone()
    local = rearrange(x[:, 1:], "(b r) n d -> b (r n) d", r=regions).clone()
    normed = block.inter_region_norm(representative)
    representative = representative + _cross(block.inter_region_attn, normed, normed)
    query, context = block.local_global_norm_token(local), block.local_global_norm_region(representative)
    local = local + _cross(block.local_global_attn, query, context)
    representative = rearrange(representative, "b r d -> (b r) 1 d")
    x = torch.cat((representative, rearrange(local, "b (r n) d -> (b r) n d", r=regions)), dim=1)
    return x + block.mlp(block.mlp_norm(x))


def _joint_block(block: JointBlock, x: Tensor) -> Tensor:
    x = x + _joint(block.attn, block.attn_norm(x))
    return x + block.mlp(block.mlp_norm(x))


def _cross(layer: CrossAttention, query: Tensor, context: Tensor) -> Tensor:
    q = rearrange(layer.q(query, layer.q_bias), "b n (h d) -> b h n d", h=layer.num_heads)
    bias = torch.cat((torch.zeros_like(layer.v_bias), layer.v_bias))
    kv = rearrange(layer.kv(context, bias), "b n (two h d) -> two b h n d", two=2, h=layer.num_heads)
    return layer.proj(_softmax_attention(q, kv[0], kv[1]))


def _joint(layer: Attention, x: Tensor) -> Tensor:
    bias = torch.cat((layer.q_bias, torch.zeros_like(layer.v_bias), layer.v_bias))
    qkv = rearrange(layer.qkv(x, bias), "b n (three h d) -> three b h n d", three=3, h=layer.num_heads)
    return layer.proj(_softmax_attention(qkv[0], qkv[1], qkv[2]))


def _softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention with its matrix of weights in memory: (B, heads, Q, d) to (B, Q, heads * d)."""
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return rearrange(weights.softmax(dim=-1) @ v, "b h n d -> b n (h d)")


@torch.no_grad()
def _targets(clip: Tensor, mask: Tensor, patch: int, tubelet: int) -> Tensor:
    """Appearance and motion of all tubelets, those of the masked ones kept: (B, M, P)."""
    mean, std = (clip.new_tensor(values)[:, None, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    pattern = "b c (t f) (h y) (w x) -> b (t h w) (f y x) c"
    pixels = rearrange(clip * std + mean, pattern, f=tubelet, y=patch, x=patch)
    deviation = pixels.var(dim=-2, unbiased=True, keepdim=True).sqrt() + 1e-6
    normalised = (pixels - pixels.mean(dim=-2, keepdim=True)) / deviation
    frames = rearrange(normalised, "b n (f p) c -> b n f (p c)", f=tubelet).clone()
    frames[:, :, 1:] -= frames[:, :, :1].clone()
    return _pick(frames.flatten(2), mask)
