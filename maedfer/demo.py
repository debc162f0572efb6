"""`maedfer demo`: the whole way on synthetic faces, every stage a shipped verb on files.

Videos -> shards -> masked pre-training -> held-out reconstruction, with the commands shown as they run. It
shows that an encoder learns to fill in hidden faces better than the mean face does, and no more: masked
pre-training has a plateau in what it is worth for recognition that a few CPU minutes do not leave. `--full`
trains fourteen times as long; whether that is past it is for fine-tuning to show.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maedfer.__main__ import main


@dataclass(frozen=True)
class Scale:
    """How long the demo is.

    Attributes:
        clips: unlabelled clips of the bulk.
        steps: pre-training steps.
        minutes: what to expect on two cores of a current machine, said before it starts.
        val_clips: held-out clips, of other people.
    """

    clips: int
    steps: int
    minutes: str
    val_clips: int = 256


SHORT = Scale(clips=4_000, steps=1_000, minutes="about 5 minutes")
FULL = Scale(clips=12_000, steps=14_000, minutes="about 40 minutes")

SIZE = "48"
"""Pixels of the demo recipe's clips."""


def demo(out: str | None = None, full: bool = False) -> str:
    """Make synthetic faces, pack, verify, pretrain, reconstruct.

    Run again on the same folder, it continues where it was stopped.

    Args:
        out: folder of the results; runs/demo, or runs/demo-full for the longer form.
        full: the longer form, about 40 minutes; stopped, it goes on where it was.

    Raises:
        ValueError: a stage failed (its own message stands above), or the folder holds the other form.
        KeyboardInterrupt: stopped while it pretrained.
    """
    scale = FULL if full else SHORT
    folder = Path(out or ("runs/demo-full" if full else "runs/demo"))
    note_scale(folder, scale)
    print(f"maedfer demo: {scale.minutes} on two CPU cores, results in {folder}, synthetic faces", flush=True)
    began = time.monotonic()
    videos, packed, bulk, run = (folder / name for name in ("videos", "packed", "shards", "pretrain"))
    if not (videos / "list.csv").is_file():
        stage("synthesize", "--out", videos, "--clips", "28", "--val-clips", "14", "--size", "96")
    stage("pack", videos / "list.csv", "--out", packed, "--detector", "none", "--size", SIZE)
    stage("verify", packed)
    stage("info", packed, "--sheet", folder / "packed.png")
    if not (bulk / "index.json").is_file():
        counts = ("--clips", str(scale.clips), "--val-clips", str(scale.val_clips))
        stage("synthesize", "--shards", "--out", bulk, *counts, "--size", SIZE)
    resume = ["--resume"] if (run / "config.yaml").is_file() else []
    steps = ("--trainer.max_steps", str(scale.steps))
    stage("pretrain", "--config", "pretrain/demo", "--run", run, "--data.shards", bulk, *steps, *resume)
    stage("reconstruct", "--model", run, "--shards", bulk, "--out", folder / "reconstruction")
    return summary(folder, run, time.monotonic() - began)


def note_scale(folder: Path, scale: Scale) -> None:
    """Remember in `demo.json` which form a folder holds, so that one form never continues the other.

    Raises:
        ValueError: it holds the other form.
    """
    note, text = folder / "demo.json", json.dumps({"clips": scale.clips, "steps": scale.steps})
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise ValueError(f"{folder} holds a demo of another length: give another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(text, encoding="utf-8")


def stage(verb: str, *args: str | Path) -> None:
    """Show a command and run it as the command line would."""
    words = [verb, *map(str, args)]
    print(f"\n$ maedfer {shlex.join(words)}", flush=True)
    code = main(words)
    if code > 128:  # a signal
        raise KeyboardInterrupt("stopped; run the same command again to continue")
    if code:
        raise ValueError(f"`maedfer {verb}` ended with exit code {code}")


def summary(folder: Path, run: Path, seconds: float) -> str:
    """Where everything lies."""
    places: Sequence[tuple[str, Path]] = (
        ("videos packed", folder / "packed.png"),
        ("reconstructions", folder / "reconstruction"),
        ("loss curves", run / "figures" / "losses.png"),
        ("encoder", run / "encoder"),
    )
    rows = "\n".join(f"  {name:<16} {path}" for name, path in places)
    return f"\n{seconds / 60:.1f} minutes, synthetic faces. Results:\n{rows}"
