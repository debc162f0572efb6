"""`maedfer pretrain` really run on tiny shards: the run folder, its tables, kill and resume, bad input."""

import json
import os
import signal
import subprocess
import time

import pytest
import torch
import yaml
from helpers.pretraining_runs import STEPS, arguments, keys, rows

import maedfer
from maedfer.__main__ import main

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def finished(synthetic_shards, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(arguments(synthetic_shards, run)) == 0
    return run


def test_the_run_folder_is_what_the_design_promises(finished):
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("events.")}
    assert events
    assert names - events == {
        *("config.yaml", "metrics.csv", "throughput.csv", "held_out.csv", "summary.json", "report.html"),
        "keys/rank0.txt",
        *("checkpoints/last.ckpt", "checkpoints/best.ckpt"),
        *("encoder/config.json", "encoder/model.safetensors", "encoder/README.md"),
        *("figures/losses.png", f"figures/reconstruction_{STEPS:07d}.png"),
    }


def test_metrics_have_one_row_per_step(finished):
    table = rows(finished)
    assert list(table[0]) == ["step", "loss", "loss_appearance", "loss_motion", "lr"]
    assert [int(row["step"]) for row in table] == list(range(1, STEPS + 1))
    for row in table:
        mean = (float(row["loss_appearance"]) + float(row["loss_motion"])) / 2
        assert float(row["loss"]) == pytest.approx(mean, rel=1e-5)
    assert float(rows(finished)[0]["lr"]) == 0.0


def test_keys_name_every_clip(finished):
    lines = [line.split(" ") for line in keys(finished)]
    assert [int(step) for step, _, _ in lines] == [s for s in range(1, STEPS + 1) for _ in range(4)]


def test_the_encoder_loads_in_one_line_and_says_it_is_synthetic(finished):
    encoder = maedfer.load_encoder(finished)
    features = encoder.forward_features(torch.zeros(1, 3, 16, 32, 32))
    assert features.tokens.shape == (1, 8 * 4 * 4, 24)
    assert features.region_tokens.shape == (1, 8, 24)
    config = json.loads((finished / "encoder" / "config.json").read_text())
    assert config["provenance"]["steps"] == STEPS
    assert "synthetic" in (finished / "encoder" / "README.md").read_text().lower()


def test_the_report_stands_alone(finished):
    page = (finished / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and 'src="data:' in page and "http" not in page
    assert "synthetic" in page and "mask_ratio" in page and torch.__version__.split("+")[0] in page


def test_an_existing_run_is_not_overwritten(finished, synthetic_shards, capsys):
    assert main(arguments(synthetic_shards, finished)) == 2
    assert "--resume" in capsys.readouterr().err


def test_resuming_a_finished_run_does_nothing(finished, synthetic_shards, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert main(["pretrain", "--run", str(finished), "--resume"]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_resume_that_does_not_fit_is_refused_and_changes_nothing(finished, capsys):
    before = (finished / "config.yaml").read_bytes()
    resume = ["pretrain", "--run", str(finished), "--resume", "--trainer.max_steps", "20"]
    assert main([*resume, "--model.decoder_dim", "32"]) == 2
    message = capsys.readouterr().err.strip()
    assert "(16,)" in message and "(32,)" in message and "\n" not in message
    assert main([*resume, "--init-from", str(finished)]) == 2
    assert (finished / "config.yaml").read_bytes() == before


def test_a_damaged_checkpoint_is_named(finished, synthetic_shards, tmp_path, capsys):
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes((finished / "checkpoints" / "last.ckpt").read_bytes()[:5000])
    for source in (cut, tmp_path / "nowhere.ckpt"):
        assert main(arguments(synthetic_shards, tmp_path / "run", "--init-from", str(source))) == 2
        message = capsys.readouterr().err.strip().split("\n")[-1]
        assert "--init-from" in message and str(source) in message


def test_a_run_from_weights_that_dies_early_resumes_from_those_weights(finished, synthetic_shards, tmp_path):
    started = arguments(synthetic_shards, tmp_path / "a", "--init-from", str(finished), steps=2)
    assert main(started) == 0
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.yaml").write_bytes((tmp_path / "a" / "config.yaml").read_bytes())
    assert main(["pretrain", "--run", str(tmp_path / "b"), "--resume"]) == 0
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


def test_settings_that_lightning_refuses_are_one_line(synthetic_shards, tmp_path, capsys):
    assert main(arguments(synthetic_shards, tmp_path / "a", "--trainer.enable_checkpointing", "false")) == 2
    assert main(arguments(synthetic_shards, tmp_path / "b", "--model.base_lr", "0")) == 2
    assert "--model.base_lr" in capsys.readouterr().err
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_reconstruct_wants_a_whole_autoencoder(finished, synthetic_shards, tmp_path, capsys):
    shown = ["reconstruct", "--shards", str(synthetic_shards), "--out", str(tmp_path / "out")]
    assert main([*shown, "--model", str(finished)]) == 0
    assert "synthetic" in capsys.readouterr().out
    assert (tmp_path / "out" / f"reconstruction_{STEPS:07d}.png").is_file()
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    assert main([*shown, "--model", str(half)]) == 2
    assert "checkpoints/last.ckpt" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_resumes_exactly(stop, warm, finished, synthetic_shards, tmp_path):
    run = tmp_path / "stopped"
    command = [warm, *arguments(synthetic_shards, run)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not ((run / "metrics.csv").exists() and len(rows(run)) >= 7):
        time.sleep(0.01)
    os.killpg(process.pid, stop)  # to all its processes, as a terminal and a cluster do
    code = process.wait(timeout=60)
    assert code == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[stop]

    assert main(["pretrain", "--run", str(run), "--resume"]) == 0
    assert keys(run) == keys(finished)
    assert rows(run) == rows(finished)


def test_resume_without_a_checkpoint_starts_with_a_warning(synthetic_shards, tmp_path, capsys):
    run = tmp_path / "fresh"
    assert main(arguments(synthetic_shards, run, "--resume", steps=2)) == 0
    assert "starting from step 0" in capsys.readouterr().out


def test_init_from_starts_anew_from_weights(finished, synthetic_shards, tmp_path, capsys):
    run = tmp_path / "second"
    assert main(arguments(synthetic_shards, run, "--init-from", str(finished), steps=2)) == 0
    first, again = float(rows(finished)[0]["loss"]), float(rows(run)[0]["loss"])
    assert again < first
    wider = arguments(synthetic_shards, tmp_path / "third", "--init-from", str(finished), steps=2)
    wider[wider.index("--model.decoder_dim") + 1] = "32"
    assert main(wider) == 2
    message = capsys.readouterr().err
    assert "(16,)" in message and "(32,)" in message


def test_bad_input_is_one_line(synthetic_shards, tmp_path, capsys):
    wrong = arguments(synthetic_shards, tmp_path / "a")
    wrong[wrong.index("--model.model_args") + 1] = json.dumps({"img_size": 32, "region_size": [3, 2, 4]})
    assert main(wrong) == 2
    message = capsys.readouterr().err.strip()
    assert "(3, 2, 4)" in message and "(8, 4, 4)" in message and "\n" not in message
    assert main(arguments(synthetic_shards, tmp_path / "b", "--data.batch_size", "5000")) == 2
    assert "--data.batch_size" in capsys.readouterr().err


def test_micro_batches_of_a_step_share_its_row(synthetic_shards, tmp_path):
    run = tmp_path / "run"
    assert main(arguments(synthetic_shards, run, "--trainer.accumulate_grad_batches", "2", steps=4)) == 0
    for row in rows(run):
        mean = (float(row["loss_appearance"]) + float(row["loss_motion"])) / 2
        assert float(row["loss"]) == pytest.approx(mean, rel=1e-5)
    # 22 tracks are five batches of four: the third step of the epoch has one micro-batch, the others two.
    steps = [int(line.split(" ")[0]) for line in keys(run)]
    assert [steps.count(step) for step in (1, 2, 3, 4)] == [8, 8, 4, 8]


def test_config_yaml_starts_the_same_run(finished, tmp_path):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["trainer"]["max_steps"] == STEPS
    again = tmp_path / "again"
    assert main(["pretrain", "--config", str(finished / "config.yaml"), "--run", str(again)]) == 0
    assert rows(again) == rows(finished)
