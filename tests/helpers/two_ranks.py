"""Two real ranks on CPUs: processes that run `maedfer` commands one after another, together.

Importing everything takes most of the time of a tiny run, so ranks are forked from a server that has done it.
"""

import json
import multiprocessing
import os
import socket
import sys
import time

import torch._inductor.config
from pytorch_lightning import Callback

from helpers.warm import forks

SPLIT = {"zero_allow_untested_optimizer": True, "zero_optimization": {"stage": 3}}
SPLIT["zero_optimization"]["stage3_param_persistence_threshold"] = 0  # else parameters this small stay whole

STRATEGIES = {
    "ddp": ("--trainer.strategy", "ddp"),
    "zero1": ("--trainer.strategy", "deepspeed_stage_1"),
    "zero2": ("--trainer.strategy", "deepspeed_stage_2"),
    "zero3": (
        *("--trainer.strategy.class_path", "DeepSpeedStrategy"),
        *("--trainer.strategy.init_args.config", json.dumps(SPLIT)),
    ),
}


class SlowRank(Callback):
    """The second rank comes late to every step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        time.sleep(0.2 * trainer.global_rank)


def on_two(strategy):
    """The words of a command line for two ranks under a strategy."""
    return ("--trainer.accelerator", "cpu", "--trainer.devices", "2", *STRATEGIES[strategy])


def start(commands, out):
    """Start both ranks; what they say goes to `out/rank<r>.log`."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = forks()
    ranks = [context.Process(target=run_all, args=(commands, rank, port, out)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    return ranks


def run_all(commands, rank, port, out):
    """Be a rank: run all commands, or leave with the code of the first that fails."""
    with (out / f"rank{rank}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    # Loader workers start as they do where a run is started by hand.
    multiprocessing.set_start_method("fork", force=True)
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    import helpers.no_pixels  # noqa: F401
    from maedfer.__main__ import main

    torch._inductor.config.compile_threads = 1  # else each rank starts processes that import torch
    rank_zero_only.rank = rank  # Lightning reads it from LOCAL_RANK when it is imported
    for command in commands:
        code = main(command)
        if code:
            print(f"maedfer {' '.join(command)} ended with {code}")
            sys.exit(code)


def kill(ranks):
    """SIGKILL."""
    for process in ranks:
        process.kill()
    for process in ranks:
        process.join()


def run_together(commands, out, timeout=200):
    """Run commands on both ranks to their end; returns what the first rank said."""
    ranks = start(commands, out)
    try:
        end = time.monotonic() + timeout
        running = ranks
        while running and time.monotonic() < end and not any(process.exitcode for process in ranks):
            running[0].join(0.1)
            running = [process for process in ranks if process.exitcode is None]
        codes = [process.exitcode for process in ranks]
    finally:
        kill(ranks)
    said = (out / "rank0.log").read_text()
    assert codes == [0, 0], said[-3000:] + (out / "rank1.log").read_text()[-3000:]
    return said
