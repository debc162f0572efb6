"""Runs `maedfer demo`: the whole way on synthetic faces, each stage by the command that a user would type.

Videos -> shards -> masked pre-training -> held-out reconstruction -> fine-tuning with few labels. The final
table compares every use of the encoder with training from scratch. `--full` pre-trains on five times as many
clips, of four times as many people.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from maedfer.__main__ import main
from maedfer.demo.page import describe_results, write_demo_page
from maedfer.demo.table import CLASSES, LABELS_PER_CLASS, ROWS_FROM_SCRATCH, LabelTable
from maedfer.errors import UserError
from maedfer.files import make_folder
from maedfer.processes.parallel_runs import STOPPED, run_in_background


@dataclass(frozen=True)
class DemoLength:
    """Sets how long the demo takes.

    Attributes:
        clips: unlabelled clips for pre-training.
        steps: pre-training steps.
        minutes: expected time on two cores of a current machine, as text.
        look_every: pre-training steps between held-out evaluations and pictures.
        log_every: pre-training steps between rows of `metrics.csv`.
        val_clips: held-out clips, of other people.
        labelled: labelled training videos, of seven classes.
        test: labelled test videos, of other people.
        seeds: repetitions of each row of the table.
        fine_tuning_steps: steps of the rows that train the whole model.
        probe_steps: steps of the rows that train the head alone.
        crop: crop augmentation of the rows that train the whole model; it helps long runs only.
    """

    clips: int
    steps: int
    minutes: str
    look_every: int = 600
    log_every: int = 1
    val_clips: int = 256
    labelled: int = CLASSES * LABELS_PER_CLASS
    test: int = 280
    seeds: int = 3
    fine_tuning_steps: int = 350
    probe_steps: int = 350
    crop: str = "none"


SHORT = DemoLength(clips=3_000, steps=1_200, minutes="about 6 minutes", probe_steps=150)
FULL = DemoLength(
    clips=12_000,
    steps=6_000,
    minutes="about 20 minutes",
    look_every=1_000,
    log_every=10,
    fine_tuning_steps=600,
    crop="resized",
)

SIZE = 48
"""Pixels of the demo recipe's clips."""


def demo(out: str | None = None, full: bool = False) -> str:
    """Makes synthetic faces, packs, verifies, pretrains, reconstructs, and fine-tunes with few labels.

    Run again on the same folder, it continues where it stopped.

    Args:
        out: Folder of the results; runs/demo, or runs/demo-full for the longer form.
        full: The longer form, which pre-trains five times as long.

    Raises:
        UserError: a stage failed (its own message precedes), or the folder holds a demo of another length.
        KeyboardInterrupt: stopped during a stage.
    """
    length = FULL if full else SHORT
    folder = Path(out or ("runs/demo-full" if full else "runs/demo"))
    note_length(folder, length)
    print(
        f"maedfer demo: synthetic faces, {length.minutes} on two CPU cores, results in {folder}", flush=True
    )
    began = time.monotonic()
    table = LabelTable(
        folder=folder,
        shards=folder / "labelled",
        pretrained=folder / "pretrain",
        seeds=length.seeds,
        training=("--trainer.max_steps", str(length.fine_tuning_steps), "--data.crop", length.crop),
        probing=("--trainer.max_steps", str(length.probe_steps)),
    )
    make_labelled(folder / "videos", table.shards, folder / "labelled.png", length)
    # A model this small gains little from a second core, which trains the rows that need no encoder.
    with run_in_background(table.runs(ROWS_FROM_SCRATCH)):
        pretrain(folder / "unlabelled", table.pretrained, length)
    held_out = ("--shards", folder / "unlabelled", "--out", folder / "reconstruction", "--clips", 3)
    run_verb("reconstruct", "--model", table.pretrained, *held_out)
    scores = table.measure()
    write_demo_page(folder, scores, unlabelled=length.clips, labelled=length.labelled)
    minutes = (time.monotonic() - began) / 60
    results = f"{minutes:.1f} minutes, synthetic faces. Results:\n{list_results(folder)}"
    return f"\n{describe_results(scores)}\n{results}"


def make_labelled(videos: Path, shards: Path, sheet: Path, length: DemoLength) -> None:
    """Makes labelled videos of synthetic faces and packs them like any other videos."""
    if not (videos / "list.csv").is_file():
        counts = ("--clips", length.labelled, "--test-clips", length.test)
        run_verb("synthesize", "--out", videos, *counts, "--size", 64, "--fps", 12.5, "--seconds", 2.64)
    run_verb("pack", videos / "list.csv", "--out", shards, "--detector", "none", "--size", SIZE)
    run_verb("verify", shards)
    run_verb("info", shards, "--sheet", sheet)


def pretrain(shards: Path, run: Path, length: DemoLength) -> None:
    """Makes unlabelled clips of other people and pretrains an encoder on them."""
    if not (shards / "index.json").is_file():
        counts = ("--clips", length.clips, "--val-clips", length.val_clips)
        run_verb("synthesize", "--shards", "--out", shards, *counts, "--size", SIZE, "--seed", 1)
    flags = {
        "--trainer.max_steps": length.steps,
        "--trainer.val_check_interval": length.look_every,
        "--trainer.log_every_n_steps": length.log_every,
        "--picture_every": length.look_every,
        "--checkpoint_every": 50,
        # Decoding clips this small takes so little time that the model makes better use of the core.
        "--data.workers": 0,
    }
    words = [word for flag in flags.items() for word in flag]
    resume = ["--resume"] if (run / "config.yaml").is_file() else []
    run_verb("pretrain", "--config", "pretrain/demo", "--run", run, "--data.shards", shards, *words, *resume)


def note_length(folder: Path, length: DemoLength) -> None:
    """Writes the length to `demo.json`, so that a demo is never continued with another length.

    Raises:
        UserError: the folder holds a demo of another length.
    """
    note, text = folder / "demo.json", json.dumps({"clips": length.clips, "steps": length.steps})
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise UserError("out", f"{folder} holds a demo of another length; give another folder")
    make_folder(folder)
    note.write_text(text, encoding="utf-8")


def run_verb(verb: str, *args: str | Path | float) -> None:
    """Prints a command and runs it as the command line does.

    Raises:
        KeyboardInterrupt: a signal ended it.
        UserError: it failed; its own message precedes.
    """
    words = [verb, *map(str, args)]
    print(f"\n$ maedfer {shlex.join(words)}", flush=True)
    code = main(words)
    if code > 128:
        raise KeyboardInterrupt(STOPPED)
    if code:
        raise UserError(None, f"`maedfer {verb}` ended with exit code {code}")


def list_results(folder: Path) -> str:
    """Lists where the results are."""
    results = {
        "report": folder / "report.html",
        "chart": folder / "scores.png",
        "labelled clips": folder / "labelled.png",
        "reconstructions": folder / "reconstruction",
        "loss curves": folder / "pretrain" / "figures" / "losses.png",
        "encoder": folder / "pretrain" / "encoder",
    }
    return "\n".join(f"  {name:<16} {path}" for name, path in results.items())
