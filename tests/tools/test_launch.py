"""The launchers start real ranks, stop them with a checkpoint, and continue; the clips are the plan's."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import SLURMEnvironment

from maedfer.data.loading.datamodule import ClipDataModule
from maedfer.models.masking import MaskSpec
from maedfer.training.run.interruption import CheckpointOnSignal

pytestmark = pytest.mark.long

LAUNCH = Path(__file__).resolve().parents[2] / "tools" / "launch"
STEPS = 16
MODEL = {"img_size": 32, "region_size": [2, 2, 4], "embed_dim": 24, "depth": 1, "num_heads": 2}


def words(shards, run):
    """What maedfer is told: a tiny run on two processes without a GPU."""
    return [
        *("pretrain", "--config", "pretrain/demo", "--config", "trainer/cpu"),
        *("--run", str(run), "--data.shards", str(shards), "--data.batch_size", "4", "--data.workers", "0"),
        *("--data.record_keys", "true", "--data.val_split", "none", "--trainer.max_steps", str(STEPS)),
        *("--model.model_args", json.dumps(MODEL), "--model.decoder_dim", "16", "--model.decoder_depth", "1"),
        *("--model.decoder_num_heads", "2", "--picture_every", "0", "--trainer.val_check_interval", "100"),
        *("--trainer.enable_progress_bar", "false"),
    ]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """The environment of a shell in which maedfer is installed, with a folder for fakes on its path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "NPROC"))}
    return {**ours, "PATH": path, "OMP_NUM_THREADS": "1"}


def fake(environment, name, script):
    """Put a program on the path."""
    program = Path(environment["PATH"].split(":")[0]) / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def launch(script, args, environment, **more):
    """Start a launcher."""
    env = {**environment, **{name: str(value) for name, value in more.items()}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([LAUNCH / script, *args], env=env, **pipes)


def output_of(process, seconds=100):
    """What a launcher says until its end; where it has none, it and all that it started are killed."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        family = [process.pid]
        for parent in family:
            children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, check=False).stdout
            family += [int(child) for child in children.split()]
        for member in family:
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        raise


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def steps_done(run):
    """Rows of `metrics.csv`."""
    table = run / "metrics.csv"
    return len(table.read_text().splitlines()) - 1 if table.exists() else 0


def wait_for_steps(run, count, process):
    """Wait until a run has done so many steps."""
    deadline = time.monotonic() + 100
    while steps_done(run) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def planned(shards, rank, steps):
    """Lines of `keys/rank<r>.txt` of two ranks that nothing disturbs: the plan itself, followed here."""
    data = ClipDataModule(str(shards), batch_size=4, crop="none", frame_interval_s=0.32, workers=0)
    data.set_ranks(rank, 2)
    data.fit_to_model(16, MaskSpec((8, 4, 4), (2, 2, 4), 0.75))
    lines = []
    while len(lines) < 4 * steps:
        for batch in data.train_dataloader():
            data.consumed(batch)
            step = 1 + len(lines) // 4
            lines += [f"{step} {key} {s:.3f}" for key, s in zip(batch.keys, batch.starts, strict=True)]
    return lines[: 4 * steps]


def assert_as_planned(shards, run, steps):
    """The run saw the clips of the plan, each step once."""
    for rank in (0, 1):
        assert (run / "keys" / f"rank{rank}.txt").read_text().splitlines() == planned(shards, rank, steps)


def test_one_launcher_continues_what_another_began(synthetic_shards, environment, warm, tmp_path):
    run = tmp_path / "run"
    for place in ("maedfer.py", "bin/maedfer"):  # for `python -m maedfer`, and on the path
        shutil.copy(warm, place)
    args = words(synthetic_shards, run)
    meeting = {"NPROC": 1, "NNODES": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    machines = [launch("torchrun.sh", args, environment, **meeting, NODE_RANK=rank) for rank in (0, 1)]
    wait_for_steps(run, 3, machines[0])
    machines[1].send_signal(signal.SIGTERM)  # one of two machines is enough
    outputs = [output_of(machine) for machine in machines]
    assert [machine.returncode for machine in machines] == [143, 143], outputs
    assert "stopped by SIGTERM" in outputs[0]
    stopped_at = steps_done(run)
    assert 3 <= stopped_at < STEPS

    inside_a_job = {"SLURM_NTASKS": 1, "MASTER_PORT": free_port()}
    other = launch("deepspeed.sh", [*args, "--resume"], environment, NPROC=2, **inside_a_job)
    wait_for_steps(run, stopped_at + 3, other)
    other.send_signal(signal.SIGTERM)
    output = output_of(other)
    assert other.returncode == 143, output
    done = steps_done(run)
    assert stopped_at + 3 <= done < STEPS
    assert_as_planned(synthetic_shards, run, done)


@pytest.fixture
def slurm(environment, tmp_path):
    """A shell on a cluster with (a fake) Slurm."""
    program = Path(__file__).parents[1] / "helpers" / "fake_slurm.py"
    for name in ("sbatch", "srun", "scontrol"):
        fake(environment, name, f'exec {sys.executable} {program} {name} "$@"')
    return {**environment, "SLURM_FAKE_SPOOL": str(tmp_path / "spool")}


def sbatch(environment, *args, nodes=2, **more):
    """Submit slurm.sh and wait for the end of the job: its exit code and output."""
    command = [f"--nodes={nodes}", "--ntasks-per-node=1", LAUNCH / "slurm.sh", *args]
    program = Path(environment["PATH"].split(":")[0]) / "sbatch"
    process = launch(program, command, environment, **more)
    output = output_of(process, seconds=150)
    return process.returncode, output


def test_a_job_near_its_time_limit_requeues_itself(synthetic_shards, slurm, warm, tmp_path):
    run = tmp_path / "run"
    shutil.copy(warm, "bin/maedfer")
    args = words(synthetic_shards, run)
    code, output = sbatch(slurm, *args, SLURM_FAKE_WARN=f"{run / 'metrics.csv'} 4")
    assert code == 0, output[-3000:]
    assert output.count("goes back into the queue") == output.count("stopped by SIGTERM") == 1
    assert json.loads((run / "summary.json").read_text())["steps"] == STEPS
    assert_as_planned(synthetic_shards, run, STEPS)


def test_lightning_does_not_requeue_as_well(monkeypatch, tmp_path):
    task = {
        "NTASKS": "1",
        "NTASKS_PER_NODE": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
        "JOB_ID": "1",
    }
    for name, value in (task | {"JOB_NAME": "maedfer"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    callback = CheckpointOnSignal(tmp_path)
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, callbacks=[callback])
    assert isinstance(trainer._accelerator_connector.cluster_environment, SLURMEnvironment)
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    callback.setup(trainer, None, "fit")
    trainer._signal_connector.register_signal_handlers()
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_job_starts_from_weights_once(slurm, tmp_path):
    fake(slurm, "maedfer", 'echo "words: $*"; exit ${CODE:-0}')
    given = ("finetune", "--init-from", "runs/big", "--run", str(tmp_path), "--seed_everything=3")
    set_here = "--trainer.devices 1 --trainer.num_nodes 2"
    rest = f"--run {tmp_path} --seed_everything=3"
    _, output = sbatch(slurm, *given)
    assert f"words: finetune {rest} --init-from runs/big {set_here}" in output
    (tmp_path / "config.yaml").touch()
    (tmp_path / "spool" / "slurm_script").unlink()
    (tmp_path / "spool").rmdir()
    code, output = sbatch(slurm, *given, "--resume", "true", CODE="2")
    assert f"words: finetune {rest} --resume {set_here}" in output
    assert code == 2 and "queue" not in output


KILLED_RANK = """
import os, sys, time

rank = os.environ["RANK"]
with open("part" + rank, "w") as told:
    print(*sys.argv[1:], rank, os.environ["WORLD_SIZE"], file=told, end="")
os.rename("part" + rank, "told" + rank)
while not (os.path.exists("told0") and os.path.exists("told1")):
    time.sleep(0.05)
os.kill(os.getpid(), 9)
"""


def test_torchrun_ends_as_its_ranks_do(environment, tmp_path):
    (tmp_path / "maedfer.py").write_text(KILLED_RANK)
    process = launch("torchrun.sh", ["pretrain", "--run", "a b"], environment, NPROC=2)
    output = output_of(process)
    assert process.returncode == 128 + 9
    told = "pretrain --run a b --trainer.devices 2 --trainer.num_nodes 1"
    assert [(tmp_path / f"told{rank}").read_text() for rank in "01"] == [f"{told} {rank} 2" for rank in "01"]
    assert "Traceback" not in output


def test_deepspeed_takes_machines_from_a_hostfile(environment, tmp_path):
    fake(environment, "deepspeed", 'printf "%s\\n" "$@"')
    hosts = tmp_path / "hosts"
    hosts.write_text("# two machines\nnode1 slots=8\nnode2 slots=8\n")
    process = launch("deepspeed.sh", ["pretrain", "--run", "a b"], environment, HOSTFILE=hosts)
    told = output_of(process).splitlines()
    assert ("--hostfile", str(hosts)) in pairwise(told)
    at = told.index(str(LAUNCH / "deepspeed_rank.sh"))
    set_here = ["--trainer.devices", "8", "--trainer.num_nodes", "2"]
    assert told[at + 1].endswith("/maedfer")
    assert told[at + 2 :] == ["pretrain", "--run", "a b", *set_here]


WRONG = [
    ("torchrun.sh", ["evaluate"], {}, "the first word is pretrain or finetune, not 'evaluate'"),
    ("torchrun.sh", [], {}, "the first word is pretrain or finetune, not ''"),
    ("torchrun.sh", ["pretrain", "--trainer.devices=2"], {}, "--trainer.devices=2 is set here"),
    ("torchrun.sh", ["pretrain"], {"NNODES": 2, "NPROC": 1}, "needs MASTER_ADDR"),
    ("torchrun.sh", ["pretrain"], {"NNODES": 2, "NODE_RANK": 2, "NPROC": 1}, "numbered from 0"),
    ("torchrun.sh", ["pretrain"], {"NPROC": "two"}, "NPROC=two must be a number"),
    ("torchrun.sh", ["pretrain"], {"CUDA_VISIBLE_DEVICES": ""}, "no GPU found: NPROC=2"),
    ("deepspeed.sh", ["pretrain", "--trainer.num-nodes", "2"], {}, "--trainer.num-nodes is set here"),
    ("deepspeed.sh", ["pretrain"], {"HOSTFILE": "nowhere"}, "HOSTFILE=nowhere is not a file"),
    ("deepspeed.sh", ["pretrain"], {"HOSTFILE": "/dev/stdin"}, "is not a file"),
    ("slurm.sh", ["pretrain"], {}, "this is a batch script"),
    ("slurm.sh", ["pretrain"], {"SLURM_JOB_ID": 1}, "--ntasks-per-node"),
    ("slurm.sh", ["pack"], {"SLURM_JOB_ID": 1, "SLURM_NTASKS_PER_NODE": 1}, "not 'pack'"),
    ("slurm.sh", ["pretrain"], {"SLURM_JOB_ID": 1, "SLURM_NTASKS_PER_NODE": 1}, "give --run"),
]


@pytest.mark.parametrize(("script", "args", "more", "message"), WRONG)
def test_wrong_use_is_one_line(environment, script, args, more, message):
    process = launch(script, args, environment, **more)
    output = output_of(process)
    assert process.returncode == 2
    assert message in output
    assert len(output.splitlines()) == 1


def test_machines_of_a_hostfile_are_alike(environment, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("node1 slots=8\nnode2 slots=4\n")
    process = launch("deepspeed.sh", ["pretrain"], environment, HOSTFILE=hosts)
    assert "all machines need as many slots" in output_of(process)
    assert process.returncode == 2


@pytest.mark.parametrize("script", sorted(path.name for path in LAUNCH.glob("*.sh")))
def test_a_launcher_is_sound_shell(script):
    assert subprocess.run(["bash", "-n", LAUNCH / script], check=False).returncode == 0
