"""The encoder bench: a classifier in evaluation against the plain way, and work that evaluation can spare.

Three parts, each with a baseline of its own: ways to compute the logits of a batch; the last block for every
token or for the representative ones only; and the official test, whose four views of a track are two clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import repeat
from torch import Tensor

from benchmarks.cost import flops_of
from benchmarks.device import chosen_batch, chosen_device, lgi_former_only
from benchmarks.plain_model import plain_classifier
from benchmarks.result import Result, Row, draw_bars
from benchmarks.timing import Timing, in_turn
from maedfer.models import LGIFormer, build_encoder

CLASSES = 7
TRACK_FRAMES = 125
"""Frames of the track of the official test: five seconds."""

STRIDE = 4
"""Upstream takes every fourth frame."""

COLUMNS = {
    "part": "",
    "way": "",
    "clips": "d",
    "ms": ".0f",
    "time": ".2f",
    "GFLOP": ".1f",
    "FLOPs": ".3f",
    "scores differ": ".1e",
}


@dataclass(frozen=True)
class Way:
    """A way to the scores of clips.

    Attributes:
        clips: how many it puts through the model.
        scores: a row for each clip, or for a whole track.
    """

    clips: int
    scores: Callable[[], Tensor]


def encoder(
    out: Path = Path("runs/bench"),
    architecture: str = "lgi_former_base_patch16_160",
    batch_size: int | None = None,
    repeats: int = 5,
    compile: bool | None = None,
) -> None:
    """Time a classifier in evaluation against the plain way, and what evaluation leaves out.

    Scores are logits in the first two parts and probabilities, the mean over the views, in the third. They
    differ by their largest distance to those of the first way of the part.

    Args:
        out: folder of the results.
        architecture: registered name of an LGI-Former.
        batch_size: clips of a batch; by default 64 on a GPU and 4 elsewhere.
        repeats: rounds over all ways.
        compile: add the compiled classifier; by default on a GPU only, as compiling takes a CPU minutes.
    """
    device = chosen_device()
    batch_size = chosen_batch(batch_size, 64 if device.type == "cuda" else 4)
    torch.manual_seed(0)
    # The head as wide as any other layer: at the initial weights of a run all logits are nearly 0.
    model = build_encoder(architecture, {"num_classes": CLASSES, "init_scale": 1.0}).to(device).eval()
    lgi_former_only(model)
    compiled = device.type == "cuda" if compile is None else compile
    parts = {
        "classifier": classifier_ways(model, batch_size, compiled),
        "last block": last_block_ways(model, batch_size),
        "official test": official_ways(model),
    }
    with torch.no_grad():
        rows = [row for part, ways in parts.items() for row in compared(part, ways)]
        every = {f"{part}, {name}": way.scores for part, ways in parts.items() for name, way in ways.items()}
        timings = in_turn(every, repeats, device)
    add_times(rows, timings)
    title = f"{architecture} in evaluation; time and FLOPs in shares of the first way of each part"
    settings = {"architecture": architecture, "batch_size": batch_size, "repeats": repeats}
    Result("encoder", title, settings, rows).publish(out, COLUMNS)
    draw_bars(out / "encoder.png", title, list(every), [row["time"] for row in rows], "share of the time")


def classifier_ways(model: LGIFormer, clips: int, compiled: bool) -> dict[str, Way]:
    """Ways to the logits (B, K) of a batch, the plain one in fp32 first."""
    clip = noise(model, clips)

    def plain() -> Tensor:
        return plain_classifier(model, clip)

    def ours() -> Tensor:
        return model(clip)

    ways = {"plain, fp32": plain, "fp32": ours, "plain, bf16": mixed(plain, clip), "bf16": mixed(ours, clip)}
    if clip.is_cuda:
        ways["plain, fp16"] = mixed(plain, clip, torch.float16)
    if compiled:
        fast = torch.compile(model, fullgraph=True)
        ways["bf16, compiled"] = mixed(lambda: fast(clip), clip)
    return {name: Way(clips, way) for name, way in ways.items()}


def last_block_ways(model: LGIFormer, clips: int) -> dict[str, Way]:
    """The logits of a batch with and without what the pooling cannot see of the last block."""
    clip = noise(model, clips)
    return {
        "every token": Way(clips, lambda: model.forward_head(model.forward_features(clip))),
        "representative tokens only": Way(clips, lambda: model(clip)),
    }


def official_ways(model: LGIFormer) -> dict[str, Way]:
    """Probabilities (1, K) of a track by the official views, and by those of them that are not repeats."""
    side = model.img_size
    track = torch.randn(model.in_chans, TRACK_FRAMES, side, side, device=model.pos_embed.device)
    views = official_views(track, side, model.num_frames)
    distinct = torch.stack([view for place, view in enumerate(views) if not _is_in(view, views[:place])])

    def scores(clips: Tensor) -> Tensor:
        return model(clips).softmax(dim=-1).mean(dim=0, keepdim=True)

    return {
        "all views": Way(len(views), lambda: scores(views)),
        "distinct views": Way(len(distinct), lambda: scores(distinct)),
    }


def official_views(track: Tensor, side: int, frames: int, segments: int = 2, crops: int = 2) -> Tensor:
    """The views of upstream's test: clips along the track, and of each one crops along the longer side.

    A track is sampled every `STRIDE` frames. The first clip begins with it and the last ends with it; the
    same holds for the crops and the longer side. Upstream makes faces square before, so that all crops of a
    clip are one.

    Args:
        track: (3, F, H, W), the shorter side `side` pixels.
        side: pixels.
        frames: of a clip.
        segments: clips along the track.
        crops: along the longer side.

    Returns:
        (segments * crops, 3, frames, side, side).
    """
    sampled = track[:, ::STRIDE]
    missing = max(0, frames - sampled.shape[1])
    sampled = torch.cat((sampled, repeat(sampled[:, -1], "c h w -> c f h w", f=missing)), dim=1)
    height, width = sampled.shape[2:]
    views = []
    for start in _spread(sampled.shape[1] - frames, segments):
        for offset in _spread(max(height, width) - side, crops):
            top, left = (offset, 0) if height > width else (0, offset)
            views.append(sampled[:, start : start + frames, top : top + side, left : left + side])
    return torch.stack(views)


def _spread(room: int, places: int) -> list[int]:
    """Evenly spread whole places from 0 to `room`."""
    return [place * room // max(places - 1, 1) for place in range(places)]


def _is_in(view: Tensor, others: Tensor) -> bool:
    return any(torch.equal(view, other) for other in others)


def noise(model: LGIFormer, clips: int) -> Tensor:
    """Clips (B, 3, T, H, W) of noise, where the model is."""
    shape = (clips, model.in_chans, model.num_frames, model.img_size, model.img_size)
    return torch.randn(shape, device=model.pos_embed.device)


def mixed(
    way: Callable[[], Tensor], clip: Tensor, precision: torch.dtype = torch.bfloat16
) -> Callable[[], Tensor]:
    """The same under autocast."""

    def run() -> Tensor:
        with torch.autocast(clip.device.type, precision):
            return way()

    return run


def compared(part: str, ways: dict[str, Way]) -> list[Row]:
    """Operations and scores of the ways of a part, beside those of its first way."""
    rows: list[Row] = []
    scores: list[Tensor] = []
    for name, way in ways.items():
        scores.append(way.scores().float())
        row: Row = {"part": part, "way": name, "clips": way.clips, "GFLOP": flops_of(way.scores) / 1e9}
        if rows:
            row["scores differ"] = (scores[-1] - scores[0]).abs().max().item()
        rows.append(row)
        row["FLOPs"] = row["GFLOP"] / rows[0]["GFLOP"]
    return rows


def add_times(rows: list[Row], timings: dict[str, Timing]) -> None:
    """Add the time of a pass, and its share of that of the part's first way."""
    firsts: dict[str, Timing] = {}
    for row in rows:
        timing = timings[f"{row['part']}, {row['way']}"]
        row["ms"] = 1000 * timing.median
        row["time"] = timing.ratio_to(firsts.setdefault(row["part"], timing))
        row["seconds"] = list(timing.seconds)
