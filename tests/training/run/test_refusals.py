"""Settings that are refused: one line that names setting and value, exit code 2, and no run."""

import pytest
from helpers.pretraining_runs import arguments

from maedfer.__main__ import main

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--trainer.accelerator", "foo"), ("--trainer.strategy", "foo"), ("--trainer.precision", "foo")),
        *(("--trainer.max_steps", "-5"), ("--trainer.accumulate_grad_batches", "0")),
        *(("--trainer.devices", "2,3"), ("--seed-everything", "-1")),
        *(("--model.warmup_share", "1.0"), ("--model.base_lr", "0.0"), ("--checkpoint-every", "-1")),
    ],
)
def test_a_refused_setting_is_one_line(flag, value, synthetic_shards, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(synthetic_shards, run, f"{flag}={value}")) == 2
    message = capsys.readouterr().err
    assert message.startswith("maedfer pretrain: ") and message.count("\n") == 1
    assert flag.removeprefix("--trainer.") in message
    assert not run.exists()
