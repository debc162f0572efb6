"""A supervised pool: one worker process per slot, watched for signs of life.

A decoder can hang for ever while it holds the interpreter (some do on files that promise too many
frames), or take its process down. So each slot is a process of its own that talks through pipes: silence
kills it, a crash is noticed, and either costs only the job it was at.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WORKER = (sys.executable, "-m", "maedfer.data.pack.worker")


class WorkerFailed(RuntimeError):
    """Workers cannot be started, or one says that the run cannot go on; `errno` is that of the worker's
    error."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


def run_jobs(
    jobs: Sequence[tuple[int, dict[str, Any]]],
    workers: int,
    *,
    stall_timeout: float,
    source_timeout: float | None = None,
    command: Sequence[str] = WORKER,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Do numbered jobs in any order and give each number with its result, as soon as there is one.

    A job whose worker is silent, takes too long or dies gives `{"status": "unreadable", "reason": ...}`.

    Args:
        jobs: Numbers and messages, plain JSON values.
        workers: Processes at the same time.
        stall_timeout: Seconds without a sign of life after which a worker is killed.
        source_timeout: Seconds a job may take in all; None for any.
        command: How a worker is started.

    Raises:
        WorkerFailed: workers cannot start, or one reports `fatal`.
    """
    todo: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    done: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
    slots = [_Slot(command, todo, done) for _ in range(min(workers, len(jobs)))]
    try:
        for slot in slots:
            slot.start()
        left = len(jobs)
        while left:
            for slot in slots:
                slot.watch(stall_timeout, source_timeout)
            try:
                number, result = done.get(timeout=0.2)
            except queue.Empty:
                continue
            if "fatal" in result:
                raise WorkerFailed(result["fatal"], result.get("errno"))
            yield number, result
            left -= 1
    finally:
        for slot in slots:
            slot.stop()


class _Slot(threading.Thread):
    """A thread that feeds one worker process and starts another when it dies."""

    def __init__(self, command: Sequence[str], todo: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
        super().__init__(daemon=True)
        self.command, self.todo, self.done = command, todo, done
        self.process: subprocess.Popen | None = None
        self.began = self.heard = 0.0  # 0 while no job is being done
        self.killed = ""
        self.stopped = False

    def run(self) -> None:
        number = -1
        try:
            while not self.stopped:
                number, job = self.todo.get_nowait()
                self.done.put((number, self._work(job)))
        except queue.Empty:
            pass
        except (WorkerFailed, OSError) as error:
            self.done.put((number, {"fatal": str(error)}))
        self.stop()

    def watch(self, stall_timeout: float, source_timeout: float | None) -> None:
        """Kill the worker when it has been silent, or at one job, for too long."""
        now, process = time.monotonic(), self.process
        if not self.began or process is None or self.killed:
            return
        if now - self.heard > stall_timeout:
            self.killed = f"decoder stalled (no frame in {stall_timeout:g} s)"
        elif source_timeout is not None and now - self.began > source_timeout:
            self.killed = f"not done after {source_timeout:g} s (--source-timeout)"
        if self.killed:
            process.kill()

    def stop(self) -> None:
        """End the worker, whatever it is doing."""
        self.stopped = True
        if self.process is not None:
            self.process.kill()

    def _work(self, job: dict[str, Any]) -> dict[str, Any]:
        process = self.process or self._start()
        self.killed = ""
        self.began = self.heard = time.monotonic()
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            pass  # it died between two jobs: the end of its output says so
        for line in process.stdout:
            self.heard = time.monotonic()
            if line.startswith(b"{") and line.endswith(b"\n"):  # or it was killed while it wrote
                self.began = 0.0
                return json.loads(line)
        self.process, self.began = None, 0.0
        code = process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {"status": "unreadable", "reason": self.killed or f"decoder crashed ({how})", "samples": []}

    def _start(self) -> subprocess.Popen:
        """Start a worker and wait for its first sign of life; imports are not counted as silence."""
        package = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self.process = process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        if self.stopped:
            process.kill()
        if not process.stdout.readline():
            raise WorkerFailed(f"a worker process ended with code {process.wait()} before its first job")
        return process
