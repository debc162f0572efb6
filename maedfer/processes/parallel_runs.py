"""Runs several `maedfer pretrain` or `finetune` commands in parallel, with one thread each.

A small model gains little from several threads, and a group of runs gains fully from one process per core. A
run that has finished is skipped, and a stopped one continues.
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

from maedfer.errors import UserError
from maedfer.processes.child import end_with_pool
from maedfer.processes.cores import usable_cores

STOPPED = "stopped; run the same command again to continue"

NOT_STARTED = 128 + signal.SIGTERM
"""Exit code of a run whose pool was stopped before it started."""

PRELOADED = ["maedfer.training.pretraining.command", "maedfer.training.finetuning.command"]
"""Modules that every run needs; imported once, by the process that workers are forked from."""

Runs = Mapping[Path, Sequence[str]]
"""Folders of runs, and for each the words after `maedfer`, without `--run`."""


def run_in_parallel(runs: Runs, title: str) -> None:
    """Does all runs that have not finished, with one progress bar.

    Args:
        runs: the runs.
        title: label of the progress bar.

    Raises:
        UserError: a run failed; its log is named.
        KeyboardInterrupt: a run was stopped.
    """
    unfinished = _unfinished(runs)
    if not unfinished:
        return
    with _pool(min(usable_cores(), len(unfinished))) as pool:
        pending = {pool.submit(run_one, run, args): run for run, args in unfinished.items()}
        try:
            for done in tqdm(as_completed(pending), title, len(pending), unit="run"):
                check_exit_code(done.result(), pending[done])
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(STOPPED) from interrupt
        except BrokenProcessPool as error:
            message = "a run was killed (out of memory?); run the same command again to continue"
            raise UserError(None, message) from error


@contextmanager
def run_in_background(runs: Runs) -> Iterator[None]:
    """Does runs while the block runs, on all cores but those of OMP_NUM_THREADS (1 by default).

    When the block ends, runs that have started are waited for. The others, and those that failed, are left to
    `run_in_parallel`, which reports errors. With no core to spare, all runs are left to it.
    """
    unfinished = _unfinished(runs)
    workers = min(usable_cores() - _own_threads(), len(unfinished))
    if workers < 1:
        yield
        return
    logs = next(iter(unfinished)).parent / "*.log"
    print(f"\nIn the background: {len(unfinished)} runs; logs: {logs}", flush=True)
    with _pool(workers) as pool, _threads(usable_cores() - workers):
        for run, args in unfinished.items():
            pool.submit(run_one, run, args)
        yield


def _own_threads() -> int:
    """Returns the threads of this process in OMP_NUM_THREADS, which may list several nesting levels."""
    return int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0])


def _unfinished(runs: Runs) -> dict[Path, Sequence[str]]:
    return {run: args for run, args in runs.items() if not is_done(run)}


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool. When the block ends, running tasks are waited for and no further one starts."""
    context = _warm_context()
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, initializer=start_worker, initargs=(stop,)) as pool:
        try:
            yield pool
        finally:
            # A worker may hold the next run or two already, where the pool cannot cancel them.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _warm_context() -> BaseContext:
    """Returns how workers start: forked from a process that has imported what a run needs.

    That import costs seconds of a core; a pool of spawned workers pays it for each of them, every time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Limits torch's threads in this process while the block runs, unless OMP_NUM_THREADS is set."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    import torch

    before = torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = str(number)  # training reads it when it starts
    torch.set_num_threads(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        torch.set_num_threads(before)


def is_done(run: Path) -> bool:
    """Returns whether a run has finished."""
    return (run / "summary.json").is_file()


_stop: Event | None = None
"""In a worker: set when its pool starts no further run."""


def start_worker(stop: Event) -> None:
    """Initialises a pool worker: one thread (there is one process per core), and exit with the parent."""
    global _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between two runs, the pool handles Ctrl-C
    import torch

    _stop = stop
    end_with_pool()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def run_one(run: Path, args: Sequence[str]) -> int:
    """Does one run, or continues it, with its output in its log; returns the exit code."""
    from maedfer.__main__ import main

    if _stop is not None and _stop.is_set():
        return NOT_STARTED
    run.parent.mkdir(parents=True, exist_ok=True)
    # A run that was stopped takes its settings from its own folder.
    args = [args[0], "--resume"] if (run / "config.yaml").is_file() else args
    with log_of(run).open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return main([*args, "--run", str(run)])
        finally:
            signal.signal(signal.SIGINT, before)


def log_of(run: Path) -> Path:
    """Returns the log of a run. It lies beside the folder, which must be empty when the run starts."""
    return run.with_name(f"{run.name}.log")


def check_exit_code(code: int, run: Path) -> None:
    """Raises an error for a run that did not finish.

    Raises:
        KeyboardInterrupt: a signal ended it.
        UserError: it failed.
    """
    if code > 128:
        raise KeyboardInterrupt(STOPPED)
    if code:
        raise UserError(None, f"a run ended with exit code {code}: see {log_of(run)}")
