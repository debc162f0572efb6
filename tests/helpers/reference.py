"""MAE-DFER a second time: one clip at a time, float64, loops over regions and tokens, from the formulas.

It shares no line with the package. Parameters are a dict by upstream's names; autograd gives gradients.
"""

import math

import torch

EPS = 1e-6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def position(place: int, width: int) -> torch.Tensor:
    """Sine on even channels, cosine on odd ones; rounded to float32 as the tables are stored."""
    angles = [place / 10000 ** (2 * (j // 2) / width) for j in range(width)]
    values = [math.sin(a) if j % 2 == 0 else math.cos(a) for j, a in enumerate(angles)]
    return torch.tensor(values, dtype=torch.float64).float().double()


def layer_norm(x, p, name):
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.pow(2).mean(-1, keepdim=True) + EPS).sqrt()
    return centred / deviation * p[f"{name}.weight"] + p[f"{name}.bias"]


def mlp(x, p, name):
    hidden = x @ p[f"{name}.fc1.weight"].T + p[f"{name}.fc1.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return hidden @ p[f"{name}.fc2.weight"].T + p[f"{name}.fc2.bias"]


def attention(query, context, p, name, heads):
    """Head by head, softmax written out; the fused matrix of the decoder is cut first."""
    width = query.shape[-1]
    if f"{name}.qkv.weight" in p:
        wq, wk, wv = p[f"{name}.qkv.weight"].split(width)
    else:
        wq, (wk, wv) = p[f"{name}.q.weight"], p[f"{name}.kv.weight"].split(width)
    q = query @ wq.T + p[f"{name}.q_bias"]
    k, v = context @ wk.T, context @ wv.T + p[f"{name}.v_bias"]
    outputs, size = [], width // heads
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = torch.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
        outputs.append(scores / scores.sum(-1, keepdim=True) @ v[:, part])
    return torch.cat(outputs, dim=-1) @ p[f"{name}.proj.weight"].T + p[f"{name}.proj.bias"]


def lgi_block(
    region_tokens,
    local,
    p,
    name,
    heads,
    intra_region="self",
    inter_region=True,
    local_global="cross",
    share_attention="none",
):
    """Stages 1 to 4 on a list of representative tokens (C,) and a list of their regions' tokens (n, C)."""
    first = f"{name}.first_attn"
    second = first if share_attention == "all" else f"{name}.second_attn"
    third = f"{name}.third_attn" if share_attention == "none" else first
    for r in range(len(local)):
        x = torch.cat((region_tokens[r][None], local[r]))
        if intra_region == "self":
            normed = layer_norm(x, p, f"{name}.first_attn_norm0")
            x = x + attention(normed, normed, p, first, heads)
            region_tokens[r], local[r] = x[0], x[1:]
        else:
            query = layer_norm(x[:1], p, f"{name}.first_attn_norm0")
            context = layer_norm(x[1:], p, f"{name}.first_attn_norm1")
            region_tokens[r] = x[0] + attention(query, context, p, first, heads)[0]
    s = torch.stack(region_tokens)
    if inter_region:
        normed = layer_norm(s, p, f"{name}.second_attn_norm0")
        s = s + attention(normed, normed, p, second, heads)
    if local_global == "self":
        told = []
        for r in range(len(local)):
            x = torch.cat((s[r][None], local[r]))
            normed = layer_norm(x, p, f"{name}.third_attn_norm0")
            x = x + attention(normed, normed, p, third, heads)
            told.append(x[0])
            local[r] = x[1:]
        s = torch.stack(told)
    for r in range(len(local)):
        if local_global == "cross":
            context = layer_norm(s, p, f"{name}.third_attn_norm1")
            query = layer_norm(local[r], p, f"{name}.third_attn_norm0")
            local[r] = local[r] + attention(query, context, p, third, heads)
        local[r] = local[r] + mlp(layer_norm(local[r], p, f"{name}.norm2"), p, f"{name}.mlp")
    s = s + mlp(layer_norm(s, p, f"{name}.norm2"), p, f"{name}.mlp")
    return list(s), local


def joint_block(x, p, name, heads):
    normed = layer_norm(x, p, f"{name}.norm1")
    x = x + attention(normed, normed, p, f"{name}.attn", heads)
    return x + mlp(layer_norm(x, p, f"{name}.norm2"), p, f"{name}.mlp")


def cube(clip, token, grid, patch, tubelet=2):
    """Pixels (C, tubelet, patch, patch) of one token."""
    t, h, w = token // (grid[1] * grid[2]), token // grid[2] % grid[1], token % grid[2]
    rows, columns = slice(h * patch, (h + 1) * patch), slice(w * patch, (w + 1) * patch)
    return clip[:, t * tubelet : (t + 1) * tubelet, rows, columns]


def embed(clip, token, p, grid, patch, prefix):
    weight, bias = p[f"{prefix}patch_embed.proj.weight"], p[f"{prefix}patch_embed.proj.bias"]
    value = (weight * cube(clip, token, grid, patch)[None]).sum(dim=(1, 2, 3, 4)) + bias
    return value + position(token, len(bias))


def regions_of(tokens, grid, region):
    """The given raster tokens of every region, regions and tokens in raster order."""
    groups = []
    for t in range(0, grid[0], region[0]):
        for h in range(0, grid[1], region[1]):
            for w in range(0, grid[2], region[2]):
                groups.append([n for n in tokens if inside(n, grid, (t, h, w), region)])
    return groups


def inside(token, grid, corner, size):
    place = (token // (grid[1] * grid[2]), token // grid[2] % grid[1], token % grid[2])
    return all(c <= x < c + s for x, c, s in zip(place, corner, size, strict=True))


def encode(clip, tokens, p, grid, region, patch, heads, depth, prefix="", **stages):
    """Representative tokens (R, C), and {raster index: local token (C,)} in the order of emission."""
    groups = regions_of(tokens, grid, region)
    s = list(p[f"{prefix}lg_region_tokens"])
    local = [torch.stack([embed(clip, n, p, grid, patch, prefix) for n in group]) for group in groups]
    for i in range(depth):
        s, local = lgi_block(s, local, p, f"{prefix}blocks.{i}", heads, **stages)
    order = [token for group in groups for token in group]
    found = {
        token: layer_norm(x, p, f"{prefix}norm") for token, x in zip(order, torch.cat(local), strict=True)
    }
    return layer_norm(torch.stack(s), p, f"{prefix}norm"), found


def seen(clip, mask, p, permuted=False, **encoder):
    """Visible tokens as the decoder gets them, (V, C); `permuted` gives them upstream's wrong positions."""
    visible = [n for n in range(len(mask)) if not mask[n]]
    _, encoded = encode(clip, visible, p, prefix="encoder.", **encoder)
    rows = visible if permuted else list(encoded)
    bridged = [
        encoded[token] @ p["encoder_to_decoder.weight"].T + position(row, p["mask_token"].shape[-1])
        for token, row in zip(encoded, rows, strict=True)
    ]
    return torch.stack(bridged)


def hidden(token, p):
    """The mask token of a raster place, (C,)."""
    return p["mask_token"][0, 0] + position(token, p["mask_token"].shape[-1])


def predict(clip, mask, p, decoder_heads, decoder_depth, permuted=False, tokens=None, **encoder):
    """Predictions (M, P) of one clip, of its masked tokens or of those given, with no others around."""
    visible = seen(clip, mask, p, permuted, **encoder)
    tokens = [n for n in range(len(mask)) if mask[n]] if tokens is None else tokens
    x = torch.cat((visible, torch.stack([hidden(n, p) for n in tokens])))
    for i in range(decoder_depth):
        x = joint_block(x, p, f"decoder.blocks.{i}", decoder_heads)
    x = layer_norm(x, p, "decoder.norm")[len(visible) :]
    return x @ p["decoder.head.weight"].T + p["decoder.head.bias"]


def predict_crosswise(clip, mask, p, decoder_heads, decoder_depth, tokens, **encoder):
    """The same, each token alone with the visible ones; the decoder's parameters by our names."""
    context = layer_norm(seen(clip, mask, p, **encoder), p, "decoder.context_norm")
    predictions = []
    for token in tokens:
        x = hidden(token, p)[None]
        for i in range(decoder_depth):
            block = f"decoder.blocks.{i}"
            query = layer_norm(x, p, f"{block}.attn_norm")
            x = x + attention(query, context, p, f"{block}.attn", decoder_heads)
            x = x + mlp(layer_norm(x, p, f"{block}.mlp_norm"), p, f"{block}.mlp")
        x = layer_norm(x, p, "decoder.norm")[0]
        heads = ("decoder.appearance_head", "decoder.motion_head")
        predictions.append(torch.cat([p[f"{h}.weight"] @ x + p[f"{h}.bias"] for h in heads]))
    return torch.stack(predictions)


def target(clip, token, grid, patch, floor=0.0, group=2):
    """The two frames of one token of a normalised clip, minus the first of their group: (P,).

    Channel fastest; in groups of 2, as published, appearance, then motion.
    """
    frames, per_frame = [], grid[1] * grid[2]
    for frame in (token // per_frame * 2, token // per_frame * 2 + 1):
        first = frame // group * group
        channels = []
        for c in range(3):
            values = normalised(clip, token, grid, patch, c, floor)[frame % 2]
            if first < frame:
                other = first // 2 * per_frame + token % per_frame
                values = values - normalised(clip, other, grid, patch, c, floor)[first % 2]
            channels.append(values)
        frames.append(torch.stack(channels, -1).flatten())
    return torch.cat(frames)


def normalised(clip, token, grid, patch, channel, floor):
    """The pixels (2, patch, patch) of a token and channel, normalised together."""
    values = cube(clip, token, grid, patch)[channel] * STD[channel] + MEAN[channel]
    mean = values.mean()
    variance = (values - mean).pow(2).sum() / (values.numel() - 1)
    return (values - mean) / (torch.sqrt(variance + floor**2) + 1e-6)
