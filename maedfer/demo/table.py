"""Trains and scores the rows of the demo's table: ways to use an encoder with few labels, and without one.

Each row is `maedfer finetune` on the same labelled clips, once per seed. The seed decides the order and the
views of the clips and the initial weights.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maedfer.processes.parallel_runs import run_in_parallel
from maedfer.runs.folder import RunFolder

CLASSES, LABELS_PER_CLASS = 7, 16

PROBE = ("--freeze-encoder", "--model.weight_decay", "0")
ATTENTIVE = ("--model.pool", "attentive")
PRETRAINED = ("--init-from", "{pretrained}")
GENTLE = ("--model.base_lr", "0.128", "--model.layer_decay", "0.3", "--model.label_smoothing", "0.1")
"""Flags that fine-tune an encoder well, chosen on labelled clips that are not the demo's (seed 7).

There, training from scratch gains nothing from label smoothing and 25 points from Muon, which an encoder does
not need.
"""

FROM_SCRATCH = "fine-tuned from scratch"
FINE_TUNED = "fine-tuned, pretrained"
ATTENTIVE_PROBE = "attentive probe, pretrained"
PIXELS = "logistic regression on pixels"

ROWS: Mapping[str, Sequence[str]] = {
    FROM_SCRATCH: ("--model.optimizer", "muon"),
    FINE_TUNED: (*PRETRAINED, *ATTENTIVE, *GENTLE),
    ATTENTIVE_PROBE: (*PRETRAINED, *PROBE, *ATTENTIVE, "--model.base_lr", "0.064"),
    "linear probe, pretrained": (*PRETRAINED, *PROBE, "--model.base_lr", "0.16"),
    "attentive probe, random features": (*PROBE, *ATTENTIVE, "--model.base_lr", "0.064"),
}
"""Rows of the table, and the flags that each adds to `maedfer finetune --config finetune/demo`."""

ROWS_FROM_SCRATCH = tuple(name for name, flags in ROWS.items() if PRETRAINED[0] not in flags)
"""Rows that need no encoder and can be trained while it is pretrained."""

Scores = Mapping[str, Sequence[float]]
"""Rows of the table: the test UAR of every seed, in percent."""


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Names the runs behind the table.

    Attributes:
        folder: folder of the demo; runs are in `finetune`.
        shards: labelled shards with the splits train and test.
        pretrained: the pre-training run.
        seeds: repetitions of each row.
        training: flags of the rows that train the whole model.
        probing: flags of the rows that train the head alone.
    """

    folder: Path
    shards: Path
    pretrained: Path
    seeds: int
    training: Sequence[str]
    probing: Sequence[str]

    def runs(self, names: Collection[str] = ROWS) -> dict[Path, Sequence[str]]:
        """Returns the folders and arguments of all seeds of some rows."""
        return {self.run(name, seed): self._args(name, seed) for seed in range(self.seeds) for name in names}

    def run(self, name: str, seed: int) -> Path:
        """Returns the folder of a run."""
        return self.folder / "finetune" / f"{slug(name)}-{seed}"

    def _args(self, name: str, seed: int) -> list[str]:
        """Returns the arguments of `maedfer` for a run, without its folder."""
        return [
            *("finetune", "--config", "finetune/demo", "--data.shards", str(self.shards)),
            *("--seed_everything", str(seed), *(self.probing if PROBE[0] in ROWS[name] else self.training)),
            *("--trainer.enable_progress_bar", "false"),
            *(word.format(pretrained=self.pretrained) for word in ROWS[name]),
        ]

    def measure(self) -> Scores:
        """Trains the runs that are missing and returns the scores of all rows.

        Raises:
            UserError: a run failed; the message names its log.
            KeyboardInterrupt: a run was stopped.
        """
        command = (
            f"maedfer finetune --config finetune/demo --data.shards {self.shards} --seed_everything SEED"
        )
        print(f"\n$ {command} ...")
        for name, flags in ROWS.items():
            print(f"    {name:<34}{shlex.join(flags).format(pretrained=self.pretrained)}", flush=True)
        run_in_parallel(self.runs(), "fine-tuning")
        scores = {name: [read_uar(self.run(name, seed)) for seed in range(self.seeds)] for name in ROWS}
        return scores | {PIXELS: [measure_pixels(self.shards)]}


def slug(name: str) -> str:
    """Returns the name of a row as the name of a folder."""
    return name.replace(",", "").replace(" ", "-")


def read_uar(run: Path) -> float:
    """Reads the test UAR of a finished run, in percent."""
    summary = json.loads(RunFolder(run).summary.read_text(encoding="utf-8"))
    return 100 * float(summary["scores"]["uar"])


def measure_pixels(shards: Path) -> float:
    """Returns the test UAR of logistic regression on pixels, in percent; it has no seed."""
    from maedfer.data.loading.labelled_datamodule import LabelledDataModule
    from maedfer.evaluation.scores import scores
    from maedfer.training.finetuning.pixel_baseline import pixel_predictions

    data = LabelledDataModule(str(shards), val_share=0.0, workers=0)
    return 100 * scores(pixel_predictions(data))["uar"]
