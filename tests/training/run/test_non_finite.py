"""Steps whose loss is NaN or infinite: nothing changes, their clips are named, and many end the run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from helpers.clip_batches import clip_batch
from helpers.disturbances import disturbed
from helpers.finetuning_runs import table
from helpers.pretraining_runs import arguments, keys, rows
from torch import nn

from maedfer.__main__ import main
from maedfer.errors import UserError
from maedfer.training.run.non_finite import NonFiniteLoss
from maedfer.training.steps.finite_steps import FiniteSteps, SteadyAverage

pytestmark = pytest.mark.long

BAD = 5
"""Number of the spoilt micro-batch: the third step of two, or the sixth of one."""


class Toy(FiniteSteps):
    """A batch norm and a Linear, with AdamW and a learning rate that changes at every step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.linear = nn.BatchNorm1d(3), nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        loss = self.linear(self.norm(batch.clips)).square().mean()
        self.watch(loss)
        return {"loss": loss, "unscaled": loss.detach()}

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1, weight_decay=0.1)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def by_hand(batches, accumulated):
    """The same training in plain torch, in which a step with a spoilt micro-batch is not there."""
    model = Toy()
    average = None
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for step, start in enumerate(range(0, len(batches), accumulated)):
        micro = batches[start : start + accumulated]
        if any(not torch.isfinite(batch.clips).all() for batch in micro):
            continue
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        optimizer.zero_grad()
        for batch in micro:
            (model.linear(model.norm(batch.clips)).square().mean() / accumulated).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        now = [p.detach().clone() for p in model.parameters()]
        average = now if average is None else [a * 0.5 + p * 0.5 for a, p in zip(average, now, strict=True)]
    return model, average


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_skipped_step_changes_nothing(accumulated, tmp_path):
    torch.manual_seed(1)
    batches = [clip_batch("abcd", clips=torch.randn(4, 3)) for _ in range(8)]
    batches[BAD].clips[2, 1] = torch.inf
    module, average = Toy(), SteadyAverage(decay=0.5)
    seen = []

    class Weights(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            state = trainer.optimizers[0].state_dict()["state"]
            moments = [v.clone() for values in state.values() for v in values.values()]
            averaged = [p.clone() for p in average._average_model.parameters()]
            seen.append([*(p.clone() for p in pl_module.state_dict().values()), *moments, *averaged])

    trainer = pl.Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False},
        **{"enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": tmp_path},
        accumulate_grad_batches=accumulated,
        gradient_clip_val=0.5,
        callbacks=[average, NonFiniteLoss(tmp_path, stop_after=2), Weights()],
    )
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    trainer.fit(module, loader)
    before = BAD - accumulated  # the last micro-batch of the step before
    assert all(torch.equal(a, b) for a, b in zip(seen[before], seen[BAD], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(seen[BAD], seen[-1], strict=True))

    expected, averaged = by_hand(batches, accumulated)
    for value, right in zip(seen[-1], expected.state_dict().values(), strict=False):
        torch.testing.assert_close(value, right)
    # The average is what the module holds at the end.
    for value, right in zip(module.parameters(), averaged, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-6, atol=1e-7)
    named = table(tmp_path / "non_finite.csv")
    step = str(BAD // accumulated + 1)
    assert [tuple(row.values()) for row in named] == [(step, "0", key, "0.000") for key in "abcd"]
    assert trainer.global_step == 8 // accumulated


@pytest.fixture(scope="module")
def left_alone(synthetic_shards, tmp_path_factory):
    """Nine steps of pre-training, of which the third, the fifth and the seventh are spoilt."""
    run = tmp_path_factory.mktemp("left_alone") / "run"
    assert main(arguments(synthetic_shards, run, *disturbed(spoilt=[3, 5, 7]), steps=9)) == 0
    return run


def test_a_run_goes_on_and_names_the_clips(left_alone):
    losses = [row["loss"] for row in rows(left_alone)]
    assert [n for n, loss in enumerate(losses, 1) if loss == "nan"] == [3, 5, 7] and len(losses) == 9
    assert all(0 < float(loss) < 10 for loss in losses if loss != "nan")
    noted = table(left_alone / "non_finite.csv")
    assert [f"{row['step']} {row['key']} {row['start']}" for row in noted] == [
        line for line in keys(left_alone) if line.split(" ")[0] in ("3", "5", "7")
    ]
    assert len(keys(left_alone)) == 9 * 4
    assert json.loads((left_alone / "summary.json").read_text())["skipped_steps"] == 3


def test_a_resumed_run_counts_on(left_alone, synthetic_shards, tmp_path):
    run = tmp_path / "run"
    options = {"spoilt": [3, 5, 7], "out": str(tmp_path)}
    dying = arguments(synthetic_shards, run, *disturbed(**options, die_after=8), steps=9)
    dying[dying.index("--checkpoint_every") + 1] = "2"
    assert main(dying) == 1
    # A checkpoint is due at steps 2, 4, 6 and 8; the run died before it wrote the last.
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert main(["pretrain", "--run", str(run), "--resume", *disturbed(**options, die_after=0)]) == 0
    assert rows(run) == rows(left_alone) and keys(run) == keys(left_alone)
    assert (run / "non_finite.csv").read_bytes() == (left_alone / "non_finite.csv").read_bytes()
    assert json.loads((run / "summary.json").read_text())["skipped_steps"] == 3


def test_no_checkpoint_after_a_skipped_step(synthetic_shards, tmp_path, capsys):
    run = tmp_path / "run"
    spoilt = list(range(4, 14))
    assert main(arguments(synthetic_shards, run, *disturbed(spoilt=spoilt), steps=20)) == 2
    shown = capsys.readouterr()
    message = shown.err.strip().split("\n")[-1]
    assert "10 steps in a row, up to step 13" in message and "--model.base_lr" in message
    assert "step 13 is skipped" in shown.out
    assert not (run / "checkpoints" / "last.ckpt").exists()  # due at steps 5 and 10, both of them skipped


def test_fine_tuning_has_the_same_rule(labelled_shards, tmp_path, monkeypatch, capsys):
    from helpers.finetuning_runs import arguments as fine_tuning

    from maedfer.training.finetuning.module import FineTuning

    loss = FineTuning.loss
    monkeypatch.setattr(FineTuning, "loss", lambda self, *given: loss(self, *given) * float("inf"))
    assert main(fine_tuning(labelled_shards, tmp_path / "run", "--stop_after_skipped", "3")) == 2
    assert "3 steps in a row, up to step 3" in capsys.readouterr().err


def test_the_counts_are_those_of_the_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"^stop_after_skipped: 0"):
        NonFiniteLoss(tmp_path, 0)
    counting = NonFiniteLoss(tmp_path, 10)
    counting.load_state_dict({"skipped": 4, "in_a_row": 2})
    assert counting.skipped == 4 and counting.state_dict() == {"skipped": 4, "in_a_row": 2}
    trainer = SimpleNamespace(global_step=10, global_rank=0, is_global_zero=True, world_size=1)
    counting.on_train_batch_end(trainer, SimpleNamespace(bad_rank=None, step_ended=True), {}, {}, 0)
    assert counting.state_dict() == {"skipped": 4, "in_a_row": 0}


def test_two_ranks_decide_as_one(synthetic_shards, tmp_path):
    """Steps under accumulation that are bad on one rank are skipped on both; three in a row end both."""
    run = tmp_path / "run"
    bad = disturbed(spoilt=[2, 6, 7, 8], late=[4], rank=1, out=str(tmp_path))
    command = arguments(
        *(synthetic_shards, run, *bad, "--stop_after_skipped", "3"),
        *("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"),
        *("--trainer.accumulate_grad_batches", "2"),
        steps=20,
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "maedfer", *command],
        **{"capture_output": True, "text": True, "timeout": 120, "env": environment},
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.count("3 steps in a row, up to step 8") == 1
    assert done.stdout.count("NaN or infinite on rank 1") == 5
    assert "Traceback" not in done.stderr

    digests = json.loads((tmp_path / "rank0.json").read_text())
    assert digests == json.loads((tmp_path / "rank1.json").read_text())
    # The learning rate of the first step is 0, so that it changes nothing either; 8 ends before its digest.
    unchanged = [step for step in range(2, 8) if digests[step] == digests[step - 1]]
    assert unchanged == [2, 4, 6, 7]
    assert [row["loss"] == "nan" for row in rows(run)] == [step in (2, 4, 6, 7, 8) for step in range(1, 9)]
    named = table(run / "non_finite.csv")
    assert [int(row["step"]) for row in named] == [step for step in (2, 4, 6, 7, 8) for _ in range(8)]
    for rank in (0, 1):
        own = [row for row in named if row["rank"] == str(rank)]
        assert {f"{row['step']} {row['key']} {row['start']}" for row in own} < set(keys(run, rank))
    for rank in (0, 1):
        listed = keys(run, rank)
        assert [step for step in range(1, 9) if sum(k.startswith(f"{step} ") for k in listed) == 8] == [
            *(1, 2, 4, 6, 8)
        ]
