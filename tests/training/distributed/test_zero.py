"""DDP and ZeRO 1, 2, 3 on two real ranks against one process with the same global batch.

Two ranks with one loader worker read what one rank with two workers reads, so every loss and the final
weights have to agree. Each pre-training is killed (SIGKILL) on the way, under ZeRO while it writes its
checkpoint.
"""

import math
import shutil
import time

import pytest
import torch
from helpers.disturbances import disturbed
from helpers.finetuning_runs import arguments as fine_tuning
from helpers.finetuning_runs import scores, table
from helpers.pretraining_runs import arguments, keys, rows
from helpers.two_ranks import STRATEGIES, kill, on_two, run_together, start
from safetensors.torch import load_file

import maedfer
from maedfer.__main__ import main

pytestmark = [pytest.mark.long, pytest.mark.timeout(480)]  # the first test waits for every pair of processes

STEPS = 10
PLAIN = ("--data.shuffle_window", "3", "--trainer.enable_progress_bar", "false")
# Six micro-batches in an epoch: a step of four and one of two, here as there. The norm is far above 0.05.
FOUR = (*PLAIN, "--trainer.accumulate_grad_batches", "4", "--trainer.gradient_clip_val", "0.05")
TWO = (*PLAIN, "--trainer.accumulate_grad_batches", "2", "--trainer.gradient_clip_val", "0.05")


AT_REST = ("--model.base_lr", "1e-12")
TUNING = ("--data.shuffle_window", "3", "--data.batch_size", "4")
SLOW = {False: (), True: ("--trainer.callbacks", '[{"class_path": "helpers.two_ranks.SlowRank"}]')}


@pytest.fixture(scope="session")
def even_shards(tmp_path_factory):
    """24 train and 6 val tracks of synthetic faces: three steps of two ranks with four clips each."""
    from maedfer.data.synthetic.clips import SyntheticFaces
    from maedfer.data.synthetic.dataset import write_shards

    folder = tmp_path_factory.mktemp("even") / "faces"
    faces = SyntheticFaces(size=32, num_frames=24, fps=6.25)
    write_shards(folder, faces, {"train": 24, "val": 6}, samples_per_shard=8, workers=1)
    return folder


@pytest.fixture(scope="module")
def one(even_shards, tmp_path_factory):
    """One process with two workers, left alone."""
    run = tmp_path_factory.mktemp("one") / "run"
    assert main(arguments(even_shards, run, *FOUR, "--data.workers", "2", steps=STEPS)) == 0
    return run


@pytest.fixture(scope="module")
def killed(even_shards, tmp_path_factory):
    """A run of two ranks for each strategy, killed after its first checkpoint; some are in the second."""
    runs = {}
    for name in STRATEGIES:
        folder = tmp_path_factory.mktemp(name)
        runs[name] = folder / "run"
        # 0 workers are dealt as 1; starting one costs each rank seconds.
        workers = ("--data.workers", "1" if name == "ddp" else "0")
        command = arguments(even_shards, runs[name], *TWO, *on_two(name), *workers, steps=STEPS)
        command[command.index("--checkpoint_every") + 1] = "3"
        kill_in_second_checkpoint(start([command], folder), runs[name] / "checkpoints")
        assert not (runs[name] / "summary.json").exists()
    return runs


def kill_in_second_checkpoint(ranks, checkpoints):
    """Kill when, with a checkpoint there, something else is being written beside it."""
    last, end = checkpoints / "last.ckpt", time.monotonic() + 100
    first = None
    while time.monotonic() < end and all(process.is_alive() for process in ranks):
        names = {path.name for path in checkpoints.glob("last*")} if checkpoints.is_dir() else set()
        first = first or (time.monotonic() if names == {"last.ckpt"} else None)
        if first is not None and (names != {"last.ckpt"} or last.is_file()):
            break
    kill(ranks)


@pytest.fixture(scope="module")
def together(killed, one, even_shards, labelled_shards, tmp_path_factory):
    """All killed runs resumed, and other runs, by one pair of processes; gives the folder with the others."""
    folder = tmp_path_factory.mktemp("together")
    commands = [["pretrain", "--run", str(run), "--resume"] for run in killed.values()]
    for name in STRATEGIES:
        two = (*on_two(name), "--data.workers", "0", *SLOW[name == "zero3"])
        commands.append(fine_tuning(labelled_shards, folder / f"tuned_{name}", *TUNING, *two, steps=6))
        frozen = ("--freeze-encoder", "--init-from", str(one / "encoder"))
        probe = folder / f"probe_{name}"
        commands.append(fine_tuning(labelled_shards, probe, *TUNING, *two, *frozen, steps=4, model={}))
        if name != "ddp":
            drawn = ("--picture_every", "4") if name == "zero3" else ()
            spoilt = (*PLAIN, *disturbed(spoilt=[3], rank=1), *on_two(name), *drawn, "--data.workers", "0")
            commands.append(arguments(even_shards, folder / f"spoilt_{name}", *spoilt, steps=6))
    started = (*PLAIN, *AT_REST, *on_two("zero3"), "--init-from", str(one))
    commands.append(arguments(even_shards, folder / "started", *started, steps=1))
    mixed = (*PLAIN, *on_two("zero2"), "--trainer.precision", "bf16-mixed")
    commands.append(
        arguments(even_shards, folder / "mixed", *mixed, steps=6)
    )  # the last: DeepSpeed stays in it
    run_together(commands, folder)
    return folder


def same_weights(run, other, room="encoder", **tolerance):
    weights, expected = (load_file(r / room / "model.safetensors") for r in (run, other))
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, **{"rtol": 1e-4, "atol": 1e-6, **tolerance})


def losses(run):
    return [float(row["loss"]) for row in rows(run)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_killed_and_resumed_as_one_process_left_alone(name, one, killed, together):
    run = killed[name]
    seen = sorted(line for rank in (0, 1) for line in keys(run, rank))
    assert seen == sorted(keys(one)) and len(set(losses(one))) == STEPS
    assert [row["step"] for row in rows(run)] == [row["step"] for row in rows(one)]
    assert losses(run) == pytest.approx(losses(one), rel=1e-5)
    same_weights(run, one)
    assert maedfer.load_encoder(run).embed_dim == 24
    assert (run / "figures" / f"reconstruction_{STEPS:07d}.png").is_file()
    assert (run / "checkpoints" / "last.ckpt").is_dir() == (name != "ddp")


@pytest.fixture(scope="module")
def tuned(labelled_shards, tmp_path_factory):
    """Fine-tuning in one process, left alone."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    whole = (*TUNING, "--data.workers", "2", "--trainer.accumulate_grad_batches", "2")
    assert main(fine_tuning(labelled_shards, run, *whole, steps=6)) == 0
    return run


@pytest.mark.parametrize("name", STRATEGIES)
def test_fine_tuning_as_in_one_process(name, tuned, together):
    run = together / f"tuned_{name}"
    assert losses(run) == pytest.approx(losses(tuned), rel=1e-5)
    for ours, theirs in zip(table(run / "validation.csv"), table(tuned / "validation.csv"), strict=True):
        assert {k: float(v) for k, v in ours.items()} == pytest.approx(
            {k: float(v) for k, v in theirs.items()}, rel=1e-4
        )
    same_weights(run, tuned, "classifier")
    assert scores(run) == pytest.approx(scores(tuned), rel=1e-4)
    assert maedfer.load_classifier(run).num_classes == 7


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_probe_trains_its_head_only(name, one, together):
    run, ddp = (together / f"probe_{n}" for n in (name, "ddp"))
    assert losses(run) == pytest.approx(losses(ddp), rel=1e-5)
    same_weights(run, ddp, "classifier")
    assert scores(run) == pytest.approx(scores(ddp), rel=1e-4)
    encoder = load_file(one / "encoder" / "model.safetensors")
    probe = load_file(run / "classifier" / "model.safetensors")
    kept = [key for key in encoder if "blocks" in key and key in probe]
    assert kept and all(torch.equal(probe[key], encoder[key]) for key in kept)


@pytest.fixture(scope="module")
def spoilt(even_shards, tmp_path_factory):
    """One process that skips the third step."""
    run = tmp_path_factory.mktemp("spoilt") / "run"
    words = (*PLAIN, "--data.workers", "2", "--trainer.accumulate_grad_batches", "2")
    assert main(arguments(even_shards, run, *words, *disturbed(spoilt=[3]), steps=6)) == 0
    return run


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "ddp"])
def test_a_step_without_a_loss_is_skipped_on_both_ranks(name, spoilt, together):
    run = together / f"spoilt_{name}"
    assert [math.isnan(loss) for loss in losses(run)] == [step == 3 for step in range(1, 7)]
    assert losses(run) == pytest.approx(losses(spoilt), rel=1e-5, nan_ok=True)
    # Drawn on the way, where ZeRO 3 has to gather the weights and to split them again.
    assert (run / "figures" / "reconstruction_0000004.png").is_file() == (name == "zero3")
    same_weights(run, spoilt)


def test_a_step_of_several_micro_batches_cannot_be_skipped(even_shards, tmp_path):
    command = arguments(even_shards, tmp_path / "run", *TWO, *on_two("zero2"), *disturbed(spoilt=[2], rank=1))
    ranks = start([command], tmp_path)
    for process in ranks:
        process.join(100)
    codes = [process.exitcode for process in ranks]
    kill(ranks)
    said = (tmp_path / "rank0.log").read_text() + (tmp_path / "rank1.log").read_text()
    assert codes == [2, 2] and "Traceback" not in said
    assert said.count("the loss of step 2 is NaN or infinite on rank 1") == 1
    assert "accumulate_grad_batches" in said


def test_mixed_precision_is_that_of_autocast(together, spoilt):
    before = losses(together / "mixed")[:2]
    assert before == pytest.approx(losses(spoilt)[:2], rel=2e-2) and before != losses(spoilt)[:2]
    weights = load_file(together / "mixed" / "encoder" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in weights.values())


def test_plain_weights_start_a_deepspeed_run(together, one):
    same_weights(together / "started", one, rtol=0, atol=1e-9)


def test_deepspeed_weights_start_a_plain_run(killed, together, even_shards, tmp_path):
    run = tmp_path / "run"
    started = (*PLAIN, *AT_REST, "--init-from", str(killed["zero3"]))
    assert main(arguments(even_shards, run, *started, steps=1)) == 0
    same_weights(run, killed["zero3"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_that_died_is_consolidated(name, killed, together, tmp_path, capsys):
    run = tmp_path / "died"
    shutil.copytree(killed[name], run)
    shutil.rmtree(run / "encoder")
    assert main(["consolidate", str(run)]) == 0
    assert f"{STEPS} steps" in capsys.readouterr().out
    same_weights(run, killed[name], rtol=0, atol=0)


def test_a_deepspeed_run_is_looked_at(killed, together, even_shards, tmp_path):
    run = killed["zero3"]
    looked = ["--shards", str(even_shards), "--out", str(tmp_path / "out")]
    assert main(["reconstruct", "--model", str(run), *looked]) == 0
    seen, own = (table(folder / "held_out.csv")[-1] for folder in (tmp_path / "out", run))
    assert float(seen["total_model"]) == pytest.approx(float(own["total_model"]), rel=1e-4)


def test_another_strategy_does_not_resume(killed, together, one, capsys):
    more = ("--resume", "--trainer.max_steps", "30")
    cases = (
        (one, ("--trainer.strategy", "deepspeed_stage_2"), "last.ckpt was written without DeepSpeed"),
        (killed["zero2"], ("--trainer.strategy", "ddp"), "last.ckpt was written under DeepSpeed"),
        (killed["zero2"], ("--trainer.devices", "1"), "by 2 ranks under ZeRO 2, this run has 1 under ZeRO 2"),
        (
            killed["zero2"],
            ("--trainer.strategy", "deepspeed_stage_1"),
            "this run has 2 under ZeRO 1: resume as it",
        ),
    )
    for run, words, message in cases:
        capsys.readouterr()
        assert main(["pretrain", "--run", str(run), *more, *words]) == 2
        error = capsys.readouterr().err
        assert message in error and "--init-from" in error and error.count("\n") == 1
