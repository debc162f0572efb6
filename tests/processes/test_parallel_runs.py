"""Runs in parallel: each once, each with its own log, and how they end."""

import os
import threading
import time

import pytest
import torch

from maedfer.errors import UserError
from maedfer.processes import parallel_runs
from maedfer.processes.parallel_runs import (
    NOT_STARTED,
    check_exit_code,
    log_of,
    run_in_background,
    run_in_parallel,
    run_one,
)


@pytest.fixture
def called(monkeypatch):
    """Words that reach the command line, in place of running them."""
    words = []
    monkeypatch.setattr("maedfer.__main__.main", lambda args: words.append(args) or print("said") or 0)
    return words


def test_a_run_is_started_once_and_resumed_with_its_own_settings(tmp_path, called):
    run = tmp_path / "runs" / "a-0.5"
    assert run_one(run, ["finetune", "--init-from", "x"]) == 0
    assert log_of(run).read_text() == "said\n" and log_of(run).name == "a-0.5.log"
    run.mkdir()
    (run / "config.yaml").touch()
    run_one(run, ["finetune", "--init-from", "x"])
    assert called == [
        ["finetune", "--init-from", "x", "--run", str(run)],
        ["finetune", "--resume", "--run", str(run)],
    ]


def test_what_is_done_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "summary.json").touch()
    monkeypatch.setattr(parallel_runs, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("started"))
    run_in_parallel({tmp_path / "done": ["finetune"]}, "nothing")


@pytest.mark.long
def test_a_failure_among_several_is_named_and_the_rest_is_not_started(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(parallel_runs, "usable_cores", lambda: 1)
    runs = {tmp_path / f"run-{number}": ["verify", str(tmp_path / "none")] for number in range(8)}
    with pytest.raises(UserError, match=r"exit code 2: see .*run-\d\.log"):
        run_in_parallel(runs, "verifying")
    assert 1 <= len(list(tmp_path.glob("*.log"))) < 8


def test_a_run_that_failed_is_named(tmp_path):
    with pytest.raises(UserError, match=r"exit code 2: see .*probe-0\.log"):
        check_exit_code(2, tmp_path / "probe-0")
    with pytest.raises(KeyboardInterrupt, match="continue"):
        check_exit_code(130, tmp_path / "probe-0")


def test_a_pool_that_was_stopped_starts_nothing(tmp_path, called, monkeypatch):
    stop = threading.Event()
    monkeypatch.setattr(parallel_runs, "_stop", stop)
    assert run_one(tmp_path / "a", ["finetune"]) == 0
    stop.set()
    assert run_one(tmp_path / "b", ["finetune"]) == NOT_STARTED and len(called) == 1


@pytest.mark.parametrize(("cores", "asked", "own"), [(4, None, 2), (2, None, 1), (4, "3,1", 3)])
def test_runs_in_the_background_leave_cores_to_the_foreground(cores, asked, own, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(parallel_runs, "usable_cores", lambda: cores)
    begun, threads = [], torch.get_num_threads()

    class Pool:
        def __init__(self, workers, *_, **__):
            begun.append(workers)

        def __enter__(self):
            return self

        __exit__ = submit = shutdown = lambda self, *_, **__: None

    with monkeypatch.context() as patched:
        patched.setattr(parallel_runs, "ProcessPoolExecutor", Pool)
        with run_in_background({tmp_path / f"run-{number}": ["verify"] for number in range(2)}):
            assert begun == [min(2, cores - own)]
            if not asked:
                assert torch.get_num_threads() == own == int(os.environ["OMP_NUM_THREADS"])
    assert torch.get_num_threads() == threads and os.environ.get("OMP_NUM_THREADS") == asked


@pytest.mark.long
def test_runs_in_the_background_that_failed_are_reported_later(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(parallel_runs, "usable_cores", lambda: 2)
    runs = {tmp_path / f"run-{number}": ["verify", str(tmp_path / "none")] for number in range(9)}
    with run_in_background(runs):
        began = time.monotonic()
        while not list(tmp_path.glob("*.log")) and time.monotonic() - began < 60:
            time.sleep(0.02)
    assert "maedfer verify: " in next(tmp_path.glob("*.log")).read_text()
    assert len(list(tmp_path.glob("*.log"))) < 9
    with pytest.raises(UserError, match=r"exit code 2: see .*run-\d\.log"):
        run_in_parallel(runs, "verifying")


def test_a_single_core_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(parallel_runs, "usable_cores", lambda: 1)
    monkeypatch.setattr(parallel_runs, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("started"))
    with run_in_background({tmp_path / "run": ["finetune"]}):
        pass
    assert not list(tmp_path.iterdir())
