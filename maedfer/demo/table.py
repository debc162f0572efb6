"""The table that ends `maedfer demo`: what few labels make of an encoder, beside what they make without it.

Every row is `maedfer finetune` on the same labelled clips, once per seed; a seed draws their order and views
and the fresh weights.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from maedfer.processes.parallel_runs import run_in_parallel

LABELS_PER_CLASS = 16

PROBE = ("--freeze-encoder", "--model.weight_decay", "0")
ATTENTIVE = ("--model.pool", "attentive")
PRETRAINED = ("--init-from", "{pretrained}")
GENTLY = ("--model.base_lr", "0.128", "--model.layer_decay", "0.3", "--model.label_smoothing", "0.1")
"""What fine-tuning of an encoder wants; chosen on other labelled clips than the demo's (of seed 7). There,
training from scratch gains nothing by label smoothing, and 25 points by Muon, which an encoder does not need.
"""

ROWS: Mapping[str, Sequence[str]] = {
    "fine-tuned from scratch": ("--model.optimizer", "muon"),
    "fine-tuned, pretrained": (*PRETRAINED, *ATTENTIVE, *GENTLY),
    "attentive probe, pretrained": (*PRETRAINED, *PROBE, *ATTENTIVE, "--model.base_lr", "0.064"),
    "linear probe, pretrained": (*PRETRAINED, *PROBE, "--model.base_lr", "0.16"),
    "attentive probe, random features": (*PROBE, *ATTENTIVE, "--model.base_lr", "0.064"),
}
"""Rows of the table, and what each adds to `maedfer finetune --config finetune/demo`."""

FRESH = tuple(name for name, flags in ROWS.items() if PRETRAINED[0] not in flags)
"""Rows that need no pre-training, and can be done beside it."""

PIXELS = "logistic regression on pixels"


@dataclass(frozen=True)
class LabelTable:
    """What the table compares.

    Attributes:
        folder: of the demo; runs go into `finetune/`.
        shards: labelled shards with the splits train and test.
        pretrained: the pre-training run.
        seeds: repetitions.
        training: flags of the runs that train everything.
        probing: those of the runs that train the head.
    """

    folder: Path
    shards: Path
    pretrained: Path
    seeds: int
    training: Sequence[str]
    probing: Sequence[str]

    def runs(self, names: Collection[str] = ROWS) -> dict[Path, Sequence[str]]:
        """Folders and words of some rows, all seeds of each."""
        return {self.run(name, seed): self._words(name, seed) for seed in range(self.seeds) for name in names}

    def run(self, name: str, seed: int) -> Path:
        """The folder of a run."""
        return self.folder / "finetune" / f"{slug(name)}-{seed}"

    def _words(self, name: str, seed: int) -> list[str]:
        """The words behind `maedfer` of a run, its folder left out."""
        return [
            *("finetune", "--config", "finetune/demo", "--data.shards", str(self.shards)),
            *("--seed_everything", str(seed), *(self.probing if PROBE[0] in ROWS[name] else self.training)),
            *("--trainer.enable_progress_bar", "false"),
            *(word.format(pretrained=self.pretrained) for word in ROWS[name]),
        ]

    def publish(self) -> str:
        """Fine-tune what is not there yet, and set UAR side by side, for the screen and in `report.html`.

        Raises:
            ValueError: a run failed; its log is named.
            KeyboardInterrupt: one was stopped.
        """
        command = (
            f"maedfer finetune --config finetune/demo --data.shards {self.shards} --seed_everything SEED"
        )
        print(f"\n$ {command} ...")
        for name, more in ROWS.items():
            print(f"    {name:<34}{shlex.join(more).format(pretrained=self.pretrained)}", flush=True)
        run_in_parallel(self.runs(), "fine-tuning")
        rows = {name: [uar_of(self.run(name, seed)) for seed in range(self.seeds)] for name in ROWS}
        rows[PIXELS] = [pixel_uar(self.shards)]
        write_table(self.folder, rows, self.pretrained)
        return describe(rows)


def slug(name: str) -> str:
    """A row's name as a folder."""
    return name.replace(",", "").replace(" ", "-")


def uar_of(run: Path) -> float:
    """Test UAR of a finished run, in percent."""
    from maedfer.runs.folder import RunFolder

    return 100 * RunFolder(run).finished()["scores"]["uar"]


def pixel_uar(shards: Path) -> float:
    """Test UAR of the pixel baseline, in percent; it has no seed."""
    from maedfer.data.loading.labelled_datamodule import LabelledDataModule
    from maedfer.evaluation.scores import scores
    from maedfer.training.finetuning.pixel_baseline import pixel_predictions

    data = LabelledDataModule(str(shards), val_share=0.0, workers=0)
    return 100 * scores(pixel_predictions(data))["uar"]


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation over seeds."""
    return f"{mean(values):.1f} +- {stdev(values):4.1f}" if len(values) > 1 else f"{mean(values):.1f}        "


def describe(rows: Mapping[str, Sequence[float]]) -> str:
    """The table for the screen."""
    title = f"UAR in percent, {LABELS_PER_CLASS} labels per class, synthetic test identities (chance 14.3)"
    lines = [title, f"{'':<34}{'mean +- std':>15}   every seed"]
    for name, values in rows.items():
        lines.append(f"{name:<34}{spread(values):>15}   {'  '.join(f'{value:.1f}' for value in values)}")
    return "\n".join([*lines, verdict(rows)])


def verdict(rows: Mapping[str, Sequence[float]]) -> str:
    """What the table says of pre-training, whatever it is."""
    scratch, tuned, probe, *_ = rows.values()
    gain = [after - before for after, before in zip(tuned, scratch, strict=True)]
    probed = [after - before for after, before in zip(probe, scratch, strict=True)]
    return (
        f"Pre-training changes fine-tuning by {mean(gain):+.1f} points ({min(gain):+.1f} at the worst seed); "
        f"its attentive probe alone stands {mean(probed):+.1f} points ({min(probed):+.1f}) from scratch."
    )


def write_table(folder: Path, rows: Mapping[str, Sequence[float]], pretrained: Path) -> None:
    """`report.html` of the demo: the table, and the pictures of pre-training."""
    from maedfer.report.page import newest, paragraph, picture, section, table, versions_table, write_page

    cells = [(name, spread(values), *(f"{value:.1f}" for value in values)) for name, values in rows.items()]
    seeds = [f"seed {seed}" for seed in range(max(map(len, rows.values())))]
    sections = (
        paragraph(f"Synthetic faces; UAR in percent on people not seen in training. {verdict(rows)}"),
        section(f"{LABELS_PER_CLASS} labels per class", table(cells, ["", "mean +- std", *seeds])),
        section("Labelled clips", picture(folder / "labelled.png")),
        section("Pre-training", picture(pretrained / "figures" / "losses.png")),
        section("Reconstruction", picture(newest(folder / "reconstruction", "*.png"))),
        section("Versions", versions_table()),
    )
    write_page(folder / "report.html", "maedfer demo", sections)
