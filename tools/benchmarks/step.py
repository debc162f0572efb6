"""The step bench: forward and backward pass and AdamW of MAE-DFER, against the plain eager way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cost import flops_of, kept_bytes, matrix_rate
from benchmarks.device import chosen_batch, chosen_device, lgi_former_only
from benchmarks.plain_model import plain_mae
from benchmarks.result import Result, Row, draw_bars
from benchmarks.timing import Timing, in_turn
from maedfer.models import MaskedAutoencoder, build_encoder, build_mae, region_tube_mask
from maedfer.models.masking import draw_predicted, masked_per_window
from maedfer.training.steps.compilation import compiled_call

MASK_RATIO = 0.9
COLUMNS = {
    "way": "",
    "clips/s": ".2f",
    "time": ".2f",
    "GFLOP": ".2f",
    "FLOPs": ".2f",
    "of matrix rate": ".0%",
    "kept MiB": ".0f",
    "loss differs": ".0e",
    "gradient differs": ".0e",
}
EXACT = "plain, fp32"
BITS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass
class Step:
    """One way to take a step of training; calling it takes one.

    Attributes:
        mae: what is trained.
        loss: the loss of the batch.
        precision: what autocast computes in; float32 means without.
        optimizer: AdamW over the parameters.
        scaled: scale the loss, which fp16 needs.
        checkpointing: recompute the blocks in the backward pass.
        same_loss: whether it has to give the plain way's loss.
        compiled: whether the loss is compiled, which decides by itself what to keep for the backward pass.
    """

    mae: MaskedAutoencoder
    loss: Callable[[], Tensor]
    precision: torch.dtype
    optimizer: torch.optim.Optimizer
    checkpointing: bool = False
    same_loss: bool = True
    compiled: bool = False

    def __post_init__(self) -> None:
        self._device = next(self.mae.parameters()).device.type
        self._scaler = torch.amp.GradScaler(self._device, enabled=self.precision == torch.float16)

    def forward(self) -> Tensor:
        """The loss, as this way computes it."""
        self.mae.set_grad_checkpointing(self.checkpointing)
        mixed = self.precision != torch.float32
        with torch.autocast(self._device, self.precision if mixed else torch.bfloat16, enabled=mixed):
            return self.loss()

    def gradients(self) -> tuple[Tensor, Tensor]:
        """The loss, and all gradients in one vector."""
        loss = self.forward()
        parameters = [p for p in self.mae.parameters() if p.requires_grad]
        scale = self._scaler.get_scale()
        gradients = torch.autograd.grad(loss * scale, parameters)
        return loss.detach(), torch.cat([g.flatten().float() / scale for g in gradients])

    def __call__(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad()
        self._scaler.scale(self.forward()).backward()
        self._scaler.step(self.optimizer)
        self._scaler.update()


def step(
    out: Path = Path("runs/bench"),
    architecture: str = "lgi_former_base_patch16_160",
    batch_size: int | None = None,
    repeats: int = 5,
    compile: bool | None = None,
) -> None:
    """Time steps of masked pre-training against the plain eager way.

    The plain way embeds all tubelets and drops nine tenths, writes softmax out, and makes targets for all
    tubelets; on a GPU it runs under fp16 autocast with a scaled loss, as upstream does, elsewhere in fp32.

    Args:
        out: folder of the results.
        architecture: registered name of an LGI-Former.
        batch_size: clips of a step; by default 64 on a GPU and 4 elsewhere.
        repeats: rounds over all ways.
        compile: add the compiled step; by default on a GPU only, as compiling takes a CPU minutes.
    """
    device = chosen_device()
    on_gpu = device.type == "cuda"
    batch_size = chosen_batch(batch_size, 64 if on_gpu else 4)
    torch.manual_seed(0)
    ways = ways_of(architecture, batch_size, device, on_gpu if compile is None else compile)
    base = next(iter(ways))
    rows = {name: _cost(way, ways[base], batch_size) for name, way in ways.items()}
    _compare(ways, rows)
    rate = {p: matrix_rate(device, p) for p in {way.precision for way in ways.values()}}
    timings = in_turn(ways, repeats, device)
    for name, way in ways.items():
        _add_speed(rows[name], timings[name], timings[base], batch_size, rate[way.precision])
    settings = {"architecture": architecture, "batch_size": batch_size, "repeats": repeats}
    settings["matrix TFLOP/s"] = {BITS[p]: value / 1e12 for p, value in rate.items()}
    title = f"A step of pre-training {architecture}, {batch_size} clips; time in shares of '{base}'"
    Result("step", title, settings, list(rows.values())).publish(out, COLUMNS)
    draw_bars(out / "step.png", title, list(rows), [row["clips/s"] for row in rows.values()], "clips/s")


def ways_of(architecture: str, clips: int, device: torch.device, compile: bool) -> dict[str, Step]:
    """The ways to take a step, by name, the plain one first; all on one batch."""
    lgi_former_only(build_encoder(architecture, {}))
    joint = build_mae(architecture, {}).to(device)
    cross = build_mae(architecture, {}, decoder_attention="cross").to(device)
    encoder = joint.encoder
    shape = (clips, 3, encoder.num_frames, encoder.img_size, encoder.img_size)
    clip = torch.randn(shape, device=device)
    mask = region_tube_mask(clips, encoder.grid, encoder.region_size, MASK_RATIO).to(device)
    hidden = count_masked(joint)
    half, sixth = (draw_predicted(range(clips), hidden, hidden // n).to(device) for n in (2, 6))
    plain_adamw, fused, cross_fused = _adamw(joint, False), _adamw(joint, True), _adamw(cross, True)

    def plain() -> Tensor:
        return plain_mae(joint, clip, mask)[1]

    def ours() -> Tensor:
        return joint(clip, mask, hidden).loss

    low = torch.bfloat16
    upstream = {"plain, fp16": Step(joint, plain, torch.float16, plain_adamw)}
    ways = (upstream if device.type == "cuda" else {}) | {
        EXACT: Step(joint, plain, torch.float32, plain_adamw),
        "fp32": Step(joint, ours, torch.float32, fused),
        "fp32, checkpointing": Step(joint, ours, torch.float32, fused, checkpointing=True),
        "plain, bf16": Step(joint, plain, low, plain_adamw),
        "bf16": Step(joint, ours, low, fused),
        "bf16, half the masked tokens": Step(
            joint, lambda: joint(clip, mask, hidden, half).loss, low, fused, same_loss=False
        ),
        "bf16, cross-attention, one in six": Step(
            cross, lambda: cross(clip, mask, hidden, sixth).loss, low, cross_fused, same_loss=False
        ),
    }
    if compile:
        compiled = compiled_call()
        ways["bf16, compiled"] = Step(
            joint, lambda: compiled(joint, clip, mask, hidden).loss, low, fused, compiled=True
        )
    return ways


def count_masked(mae: MaskedAutoencoder) -> int:
    """Masked tokens of a clip."""
    (frames, rows, columns), (_, high, wide) = mae.encoder.grid, mae.encoder.region_size
    return frames * (rows // high) * (columns // wide) * masked_per_window((high, wide), MASK_RATIO)


def _adamw(mae: MaskedAutoencoder, fused: bool) -> torch.optim.AdamW:
    # Not fused, torch chooses: one launch for many tensors on a GPU, a loop on a CPU.
    return torch.optim.AdamW(mae.parameters(), lr=1e-5, weight_decay=0.05, fused=fused or None)


def _cost(way: Step, base: Step, clips: int) -> Row:
    """Operations of a forward pass, and what it keeps, for each clip."""
    with torch.no_grad():
        flops, plain_flops = flops_of(way.forward), flops_of(base.forward)
    row = {"GFLOP": flops / clips / 1e9, "FLOPs": flops / plain_flops}
    if way.compiled:
        return row
    return row | {"kept MiB": kept_bytes(way.forward, way.mae.parameters()) / clips / 2**20}


def _compare(ways: dict[str, Step], rows: dict[str, Row]) -> None:
    """Add how far loss and gradient are from the plain way's in full precision, as shares of them."""
    loss, gradient = ways[EXACT].gradients()
    for name, way in ways.items():
        rows[name]["way"] = name
        if name != EXACT and way.same_loss:
            other_loss, other = way.gradients()
            rows[name]["loss differs"] = ((other_loss - loss).abs() / loss).item()
            rows[name]["gradient differs"] = ((other - gradient).norm() / gradient.norm()).item()


def _add_speed(row: Row, timing: Timing, base: Timing, clips: int, rate: float) -> None:
    """Add speed, and how much of the machine's rate for matrices the step reaches.

    A step counts as three forward passes: what checkpointing computes again is no use, and that the gradient
    of the pixels is never asked for is left out of account.
    """
    row["clips/s"] = clips / timing.median
    row["time"] = timing.ratio_to(base)
    row["of matrix rate"] = 3 * row["GFLOP"] * 1e9 * row["clips/s"] / rate
    row["seconds"] = list(timing.seconds)
