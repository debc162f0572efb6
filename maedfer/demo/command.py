"""`maedfer demo`: the whole way on synthetic faces, every stage a shipped verb on files.

Videos -> shards -> masked pre-training -> held-out reconstruction -> fine-tuning with few labels, with the
commands shown, and a table at the end that sets every use of the encoder beside training from
scratch. `--full` sees five times as many clips, of four times as many people.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maedfer.__main__ import main
from maedfer.demo.table import FRESH, LABELS_PER_CLASS, LabelTable
from maedfer.files import make_folder
from maedfer.processes.parallel_runs import STOPPED, run_in_background


@dataclass(frozen=True)
class Scale:
    """How long the demo is.

    Attributes:
        clips: unlabelled clips of the bulk.
        steps: pre-training steps.
        minutes: what to expect on two cores of a current machine, said before it starts.
        look_every: pre-training steps between held-out evaluations and pictures.
        log_every: pre-training steps between rows of its tables.
        val_clips: held-out clips, of other people.
        labelled: labelled training videos, of seven classes.
        test: labelled test videos, of other people.
        seeds: repetitions of the table.
        fine_tuning_steps: steps of the rows of it that train everything.
        probe_steps: steps of those that train the head.
        crop: crops of the rows that train everything, which pay when there is time for them.
    """

    clips: int
    steps: int
    minutes: str
    look_every: int = 600
    log_every: int = 1
    val_clips: int = 256
    labelled: int = 7 * LABELS_PER_CLASS
    test: int = 280
    seeds: int = 3
    fine_tuning_steps: int = 350
    probe_steps: int = 350
    crop: str = "none"


SHORT = Scale(3_000, 1_200, "about 6 minutes", probe_steps=150)
FULL = Scale(
    12_000, 6_000, "about 20 minutes", look_every=1_000, log_every=10, fine_tuning_steps=600, crop="resized"
)

SIZE = "48"
"""Pixels of the demo recipe's clips."""


def demo(out: str | None = None, full: bool = False) -> str:
    """Make synthetic faces, pack, verify, pretrain, reconstruct, fine-tune with few labels, compare.

    Run again on the same folder, it continues where it was stopped.

    Args:
        out: folder of the results; runs/demo, or runs/demo-full for the longer form.
        full: the longer form, which pre-trains five times as long.

    Raises:
        ValueError: a stage failed (its own message stands above), or the folder holds the other form.
        KeyboardInterrupt: stopped while it trained.
    """
    scale = FULL if full else SHORT
    folder = Path(out or ("runs/demo-full" if full else "runs/demo"))
    note_scale(folder, scale)
    print(f"maedfer demo: {scale.minutes} on two CPU cores, results in {folder}, synthetic faces", flush=True)
    began = time.monotonic()
    labelled, run = folder / "labelled", folder / "pretrain"
    training = ("--trainer.max_steps", str(scale.fine_tuning_steps), "--data.crop", scale.crop)
    probing = ("--trainer.max_steps", str(scale.probe_steps))
    table = LabelTable(folder, labelled, run, scale.seeds, training, probing)
    make_labelled(folder / "videos", labelled, folder / "labelled.png", scale)
    # So small a model gains little by a second core; what needs no encoder takes all of it.
    with run_in_background(table.runs(FRESH)):
        pretrain(folder / "unlabelled", run, scale)
    stage(
        "reconstruct", "--model", run, "--shards", folder / "unlabelled", "--out", folder / "reconstruction"
    )
    return f"\n{table.publish()}\n{summary(folder, run, time.monotonic() - began)}"


def make_labelled(videos: Path, shards: Path, sheet: Path, scale: Scale) -> None:
    """Labelled videos of synthetic faces, packed as anyone's videos would be."""
    if not (videos / "list.csv").is_file():
        counts = ("--clips", str(scale.labelled), "--test-clips", str(scale.test))
        stage("synthesize", "--out", videos, *counts, "--size", "64", "--fps", "12.5", "--seconds", "2.64")
    stage("pack", videos / "list.csv", "--out", shards, "--detector", "none", "--size", SIZE)
    stage("verify", shards)
    stage("info", shards, "--sheet", sheet)


def pretrain(shards: Path, run: Path, scale: Scale) -> None:
    """An unlabelled bulk of other people, and the encoder trained on it."""
    if not (shards / "index.json").is_file():
        counts = ("--clips", str(scale.clips), "--val-clips", str(scale.val_clips))
        stage("synthesize", "--shards", "--out", shards, *counts, "--size", SIZE, "--seed", "1")
    resume = ["--resume"] if (run / "config.yaml").is_file() else []
    look = str(scale.look_every)
    length = ("--trainer.max_steps", str(scale.steps), "--trainer.val_check_interval", look)
    log = ("--trainer.log_every_n_steps", str(scale.log_every))
    # Decoding such small clips takes so little that a worker's core is better spent on the model.
    rest = (*log, "--picture_every", look, "--checkpoint_every", "50", "--data.workers", "0", *resume)
    words = ("pretrain", "--config", "pretrain/demo", "--run", run, "--data.shards", shards, *length, *rest)
    stage(*words)


def note_scale(folder: Path, scale: Scale) -> None:
    """Remember in `demo.json` which form a folder holds, so that one form never continues the other.

    Raises:
        ValueError: it holds the other form.
    """
    note, text = folder / "demo.json", json.dumps({"clips": scale.clips, "steps": scale.steps})
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise ValueError(f"{folder} holds a demo of another length: give another folder with --out")
    make_folder(folder)
    note.write_text(text, encoding="utf-8")


def stage(verb: str, *args: str | Path) -> None:
    """Show a command and run it as the command line would."""
    words = [verb, *map(str, args)]
    print(f"\n$ maedfer {shlex.join(words)}", flush=True)
    check(verb, main(words))


def check(verb: str, code: int) -> None:
    """Stop at a stage that did not end well.

    Raises:
        KeyboardInterrupt: a signal ended it.
        ValueError: something else did.
    """
    if code > 128:
        raise KeyboardInterrupt(STOPPED)
    if code:
        raise ValueError(f"`maedfer {verb}` ended with exit code {code}")


def summary(folder: Path, run: Path, seconds: float) -> str:
    """Where everything lies."""
    places: Sequence[tuple[str, Path]] = (
        ("labelled clips", folder / "labelled.png"),
        ("reconstructions", folder / "reconstruction"),
        ("loss curves", run / "figures" / "losses.png"),
        ("encoder", run / "encoder"),
        ("table and figure", folder / "report.html"),
    )
    rows = "\n".join(f"  {name:<16} {path}" for name, path in places)
    return f"{seconds / 60:.1f} minutes, synthetic faces. Results:\n{rows}"
