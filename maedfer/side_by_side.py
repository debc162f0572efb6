"""Runs of `maedfer pretrain` or `finetune` side by side: one process per core, one thread in each.

Small models gain little by several threads, several runs everything. A run that is done is not done again,
and one that was stopped goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from tqdm import tqdm

from maedfer.child_process import end_with_pool
from maedfer.data.cores import usable_cores

STOPPED = "stopped; run the same command again to continue"

Runs = Mapping[Path, Sequence[str]]
"""Folders of runs, and the words behind `maedfer` that make them, `--run` left out."""


def run_side_by_side(runs: Runs, title: str) -> None:
    """Do the runs that are not done yet, under one bar with the time left.

    Args:
        runs: what to do.
        title: what the bar says.

    Raises:
        ValueError: a run failed; its log is named.
        KeyboardInterrupt: one was stopped.
    """
    missing = {run: words for run, words in runs.items() if not is_done(run)}
    if not missing:
        return
    workers = min(usable_cores(), len(missing))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=start_worker) as pool:
        pending = {pool.submit(run_one, run, words): run for run, words in missing.items()}
        try:
            for done in tqdm(as_completed(pending), title, len(pending), unit="run"):
                check(done.result(), pending[done])
        except KeyboardInterrupt as stop:
            pool.shutdown(wait=True, cancel_futures=True)
            raise KeyboardInterrupt(STOPPED) from stop
        except BrokenProcessPool as error:
            raise ValueError(
                "a run was killed, for want of memory perhaps; the same command goes on"
            ) from error
        except ValueError:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def is_done(run: Path) -> bool:
    """Whether a run has come to its end."""
    return (run / "summary.json").is_file()


def start_worker() -> None:
    """One thread, as there are as many processes as cores, and no longer life than who started it."""
    import torch

    end_with_pool()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def run_one(run: Path, words: Sequence[str]) -> int:
    """One run, what it prints in its log; returns the exit code. Stopped before, it goes on from there."""
    from maedfer.__main__ import main

    run.parent.mkdir(parents=True, exist_ok=True)
    # Which settings it has stands in its folder.
    words = [words[0], "--resume"] if (run / "config.yaml").is_file() else words
    with log_of(run).open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        return main([*words, "--run", str(run)])


def log_of(run: Path) -> Path:
    """What a run printed; beside its folder, which must hold nothing before it starts."""
    return run.with_name(f"{run.name}.log")


def check(code: int, run: Path) -> None:
    """Stop at a run that did not end well.

    Raises:
        KeyboardInterrupt: a signal ended it.
        ValueError: something else did.
    """
    if code > 128:
        raise KeyboardInterrupt(STOPPED)
    if code:
        raise ValueError(f"a run ended with exit code {code}: see {log_of(run)}")
