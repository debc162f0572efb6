"""Runs of `maedfer pretrain` or `finetune` side by side: one process per core, one thread in each.

Small models gain little by several threads, several runs everything. A run that is done is not done again,
and one that was stopped goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Event
from pathlib import Path

from tqdm import tqdm

from maedfer.processes.child import end_with_pool
from maedfer.processes.cores import usable_cores

STOPPED = "stopped; run the same command again to continue"

NOT_BEGUN = 128 + signal.SIGTERM
"""Exit code of a run whose pool was stopped before it."""

PRELOADED = ["maedfer.training.pretraining.command", "maedfer.training.finetuning.command"]
"""Modules that every worker needs; imported once, by the process that workers are forked from."""

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
    missing = _missing(runs)
    if not missing:
        return
    with _pool(min(usable_cores(), len(missing))) as pool:
        pending = {pool.submit(run_one, run, words): run for run, words in missing.items()}
        try:
            for done in tqdm(as_completed(pending), title, len(pending), unit="run"):
                check(done.result(), pending[done])
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(STOPPED) from interrupt
        except BrokenProcessPool as error:
            raise ValueError(
                "a run was killed, for want of memory perhaps; the same command goes on"
            ) from error


@contextmanager
def beside(runs: Runs) -> Iterator[None]:
    """Do runs on all cores but one, which is for what is done meanwhile; OMP_NUM_THREADS leaves it more.

    Runs that have begun when that ends are waited for. The others, and those that failed, are left for
    `run_side_by_side`, which says what went wrong. Where no core is to spare, all are.
    """
    missing = _missing(runs)
    workers = min(usable_cores() - _own_threads(), len(missing))
    if workers < 1:
        yield
        return
    print(f"\nMeanwhile, {len(missing)} runs; their logs: {next(iter(missing)).parent}/*.log", flush=True)
    with _pool(workers) as pool, _threads(usable_cores() - workers):
        for run, words in missing.items():
            pool.submit(run_one, run, words)
        yield


def _own_threads() -> int:
    """Threads that OMP_NUM_THREADS asks for in this process, of which it may name several levels."""
    return int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])


def _missing(runs: Runs) -> dict[Path, Sequence[str]]:
    return {run: words for run, words in runs.items() if not is_done(run)}


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that is waited for, but begins nothing any more once the block has ended."""
    context = _warm_context()
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(stop,)) as pool:
        try:
            yield pool
        finally:
            # A worker has the next run or two on its list already, where they cannot be cancelled.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _warm_context() -> BaseContext:
    """Returns the way workers start: forked from a process that has imported what a run needs.

    That import costs seconds of a core; a pool of spawned workers pays it for each of them, every time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """So many threads of torch in this process, unless OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    import torch

    before = torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = str(number)  # the last word, also when training starts
    torch.set_num_threads(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        torch.set_num_threads(before)


def is_done(run: Path) -> bool:
    """Whether a run has come to its end."""
    return (run / "summary.json").is_file()


_stop: Event | None = None
"""In a worker: set when its pool begins nothing any more."""


def start_worker(stop: Event) -> None:
    """One thread, as there are as many processes as cores, and no longer life than who started it."""
    global _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between two runs, Ctrl-C is its pool's to handle
    import torch

    _stop = stop
    end_with_pool()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def run_one(run: Path, words: Sequence[str]) -> int:
    """One run, what it prints in its log; returns the exit code. Stopped before, it goes on from there."""
    from maedfer.__main__ import main

    if _stop is not None and _stop.is_set():
        return NOT_BEGUN
    run.parent.mkdir(parents=True, exist_ok=True)
    # Which settings it has stands in its folder.
    words = [words[0], "--resume"] if (run / "config.yaml").is_file() else words
    with log_of(run).open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return main([*words, "--run", str(run)])
        finally:
            signal.signal(signal.SIGINT, before)


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
