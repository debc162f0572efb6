"""The scaling bench: the cost of LGI-Former and joint attention over clip sizes, and of plans over set sizes.

Both encoders have the same width and depth, so that only the design of the attention differs. Operations and
memory are counted, not estimated. A region stays what it is in the published encoder, two token-frames of
half the face: regions grow with the picture, and become more with the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.cost import flops_of, kept_bytes
from benchmarks.device import chosen_batch, chosen_device
from benchmarks.plan_cost import publish_plan_costs
from benchmarks.result import Result, Row, new_figure
from benchmarks.timing import in_turn
from maedfer.errors import UserError
from maedfer.models import build_encoder
from maedfer.models.encoder import VideoEncoder

LGI, JOINT, BASE = "LGI", "joint", "ViT-B"
SHAPES = {
    "base": (
        "lgi_former_base_patch16_160",
        "vit_joint_base_dim512_patch16_160",
        "vit_joint_base_patch16_160",
    ),
    "tiny": ("lgi_former_tiny_patch8_64", "vit_joint_tiny_patch8_64", None),
}
"""Encoders of one width and depth, and the wider baseline of the paper's tables."""

MEASURES = {"ms": "time", "GFLOP": "FLOPs", "MiB": "memory", "unfused MiB": "unfused memory"}
"""Units of what is compared, and what it is called."""

COLUMNS = {
    **{"frames": "d", "px": "d", "tokens": "d"},
    **{f"{LGI} ms": ".0f", f"{JOINT} ms": ".0f", "time saved": ".1%"},
    **{f"{LGI} GFLOP": ".1f", f"{JOINT} GFLOP": ".1f", "FLOPs saved": ".1%", f"{BASE} GFLOP": ".1f"},
    **{f"{LGI} MiB": ".0f", f"{JOINT} MiB": ".0f", "memory saved": ".1%", "unfused memory saved": ".1%"},
}
WORTH = 0.05
"""Saving from which a size is said to pay."""


@dataclass(frozen=True)
class Size:
    """The size of a clip: frames, and pixels of a side."""

    frames: int
    px: int


def scaling(
    out: Path = Path("runs/bench"),
    shape: Literal["base", "tiny"] = "base",
    sides: Sequence[int] = (96, 128, 160, 192, 224, 256, 320, 384),
    lengths: Sequence[int] = (8, 16, 32, 64),
    side: int = 160,
    length: int = 16,
    batch_size: int | None = None,
    repeats: int = 3,
    max_tokens: int = 5000,
    plan_samples: Sequence[int] = (10**6, 10**7, 10**8),
) -> None:
    """Compare LGI-Former with joint attention of the same width and depth, over sizes and lengths of clips.

    Time is that of a clip in a forward pass without gradients, in fp32 on a CPU and under bf16 autocast on a
    GPU. Memory is what a clip's forward pass keeps for the backward pass, in fp32, with PyTorch's fused
    attention; `unfused` is with the softmax written out, as upstream has it.

    Args:
        out: folder of the results.
        shape: `base`, or `tiny` for a quick look.
        sides: pixels of a side; multiples of two patches.
        lengths: frames; multiples of two tubelets.
        side: pixels of a side where the length varies.
        length: frames where the side varies.
        batch_size: clips timed at once; by default 16 on a GPU and 1 elsewhere.
        repeats: rounds over both encoders at every size.
        max_tokens: sizes with more tokens in a clip are left out.
        plan_samples: samples of the sets that the plan of a loader worker is measured on.
    """
    device = chosen_device()
    clips = chosen_batch(batch_size, 16 if device.type == "cuda" else 1)
    sizes = sorted({Size(length, s) for s in sides} | {Size(n, side) for n in lengths}, key=_key)
    rows = [_row(shape, size, clips, repeats, device) for size in sizes if _tokens(shape, size) <= max_tokens]
    if not rows:
        raise UserError("max_tokens", f"{max_tokens} leaves no size: give a higher one")
    by_side = [row for row in rows if row["frames"] == length]
    by_length = [row for row in rows if row["px"] == side]
    settings = {"shape": shape, "batch_size": clips, "repeats": repeats, "max_tokens": max_tokens}
    settings["region"] = "2 token-frames, half the height, the full width"
    title = f"One clip forward: LGI-Former and joint attention, both {shape}"
    conclusions = said(by_side, "px", f"of {length} frames") if by_side else []
    conclusions += said(by_length, "frames", f"of {side} px") if by_length else []
    Result("scaling", title, {**settings, "conclusions": conclusions}, rows).publish(out, COLUMNS)
    print("\n" + "\n".join(conclusions), flush=True)
    draw(out / "scaling.png", title, by_side, by_length)
    publish_plan_costs(out, plan_samples)


def said(rows: Sequence[Row], axis: str, at: str) -> list[str]:
    """From which size on the design saves something, a sentence for each measure.

    Args:
        rows: by size, ascending.
        axis: the key of the rows that varies.
        at: what does not vary, in words.
    """
    sentences = []
    for saving in MEASURES.values():
        saved = [row[f"{saving} saved"] for row in rows]
        first = next((place for place in range(len(rows)) if min(saved[place:]) >= WORTH), None)
        if first is None:
            told = f"no saving of {WORTH:.0%} that lasts (between {min(saved):.1%} and {max(saved):.1%})"
        else:
            told = f"LGI-Former saves {saved[first]:.1%} from {rows[first][axis]} {axis} on"
            told += f", {saved[-1]:.1%} at {rows[-1][axis]} {axis}" if first < len(rows) - 1 else ""
        sentences.append(f"{saving}, clips {at}: {told}")
    return sentences


def _row(shape: str, size: Size, clips: int, repeats: int, device: torch.device) -> Row:
    """Costs of both encoders at one size, for a clip."""
    row: Row = {"frames": size.frames, "px": size.px, "tokens": _tokens(shape, size)}
    ways: dict[str, Callable[[], object]] = {}
    for name, architecture in zip((LGI, JOINT, BASE), SHAPES[shape], strict=True):
        if architecture is None:
            continue
        row[f"{name} GFLOP"] = counted(architecture, size) / 1e9
        if name == BASE:
            continue
        row[f"{name} unfused MiB"] = _kept_mib(_without_memory(architecture, size))
        row[f"{name} MiB"] = kept_of_all_blocks(architecture, size, device)
        ways[name] = _timed_way(architecture, size, clips, device)
    timings = in_turn(ways, repeats, device)
    row |= {f"{name} ms": 1000 * timing.median / clips for name, timing in timings.items()}
    savings = {saving: 1 - row[f"{LGI} {unit}"] / row[f"{JOINT} {unit}"] for unit, saving in MEASURES.items()}
    savings["time"] = 1 - timings[LGI].ratio_to(timings[JOINT])
    return row | {f"{saving} saved": value for saving, value in savings.items()}


def counted(architecture: str, size: Size) -> int:
    """Operations of a forward pass of a clip, two for each multiplication with its addition."""
    encoder = _without_memory(architecture, size)
    with torch.no_grad():
        return flops_of(lambda: encoder.forward_features(_clip(encoder)))


def _without_memory(architecture: str, size: Size) -> VideoEncoder:
    """The encoder on torch's meta device: shapes only, and attention with its softmax written out."""
    with torch.device("meta"):
        return build_encoder(architecture, _args(architecture, size))


def kept_of_all_blocks(architecture: str, size: Size, device: torch.device) -> float:
    """MiB that a forward pass of a clip keeps; blocks are alike, so one and two of them tell of all."""
    one, two = (
        _kept_mib(build_encoder(architecture, _args(architecture, size) | {"depth": depth}).to(device))
        for depth in (1, 2)
    )
    with torch.device("meta"):
        depth = len(build_encoder(architecture).blocks)
    return one + (depth - 1) * (two - one)


def _kept_mib(encoder: VideoEncoder) -> float:
    return kept_bytes(lambda: encoder.forward_features(_clip(encoder)), encoder.parameters()) / 2**20


def _timed_way(architecture: str, size: Size, clips: int, device: torch.device) -> Callable[[], object]:
    encoder = build_encoder(architecture, _args(architecture, size)).to(device)
    clip = _clip(encoder, clips)

    @torch.no_grad()
    def way() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return encoder.forward_features(clip)

    return way


def _clip(encoder: VideoEncoder, clips: int = 1) -> Tensor:
    """Noise of the encoder's size, where its weights are."""
    shape = (clips, encoder.in_chans, encoder.num_frames, encoder.img_size, encoder.img_size)
    return torch.randn(shape, device=encoder.pos_embed.device)


def _patch(shape: str) -> int:
    return int(SHAPES[shape][0].rpartition("patch")[2].partition("_")[0])


def _tokens(shape: str, size: Size) -> int:
    return size.frames // 2 * (size.px // _patch(shape)) ** 2


def _args(architecture: str, size: Size) -> dict[str, object]:
    """Constructor arguments; half a face high and two token-frames long are the regions of LGI-Former."""
    side = size.px // int(architecture.rpartition("patch")[2].partition("_")[0])
    region = {"region_size": (2, side // 2, side)} if architecture.startswith("lgi") else {}
    return {"img_size": size.px, "num_frames": size.frames, **region}


def _key(size: Size) -> tuple[int, int]:
    return size.frames, size.px


def draw(path: Path, title: str, by_side: Sequence[Row], by_length: Sequence[Row]) -> None:
    """Time, operations and memory over the side of clips (above) and over their length (below)."""
    figure = new_figure(11.0, 6.4)
    axes = figure.subplots(2, 3)
    units = {"ms": "ms a clip", "GFLOP": "GFLOP a clip", "MiB": "MiB kept for the backward pass"}
    for line, (rows, over) in enumerate(((by_side, "px"), (by_length, "frames"))):
        for axis, (unit, label) in zip(axes[line], units.items(), strict=True):
            for name, colour in ((LGI, "#4878a8"), (JOINT, "#c26a3d"), (BASE, "#999999")):
                points = [(row[over], row[f"{name} {unit}"]) for row in rows if f"{name} {unit}" in row]
                if points:
                    axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
            if unit == "MiB":
                _draw_unfused(axis, rows, over)
            axis.set_xlabel("pixels of a side" if over == "px" else "frames")
            axis.set_ylabel(label)
            axis.set_ylim(bottom=0)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def _draw_unfused(axis: object, rows: Sequence[Row], over: str) -> None:
    """What is kept where the softmax is written out, as dotted lines."""
    for name, colour in ((LGI, "#4878a8"), (JOINT, "#c26a3d")):
        values = [row[f"{name} unfused MiB"] for row in rows]
        label = f"{name}, softmax written out"
        axis.plot([row[over] for row in rows], values, ":", color=colour, label=label)
