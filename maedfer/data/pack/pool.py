"""Supervises a pool of worker processes, each watched for signs of life.

A decoder can hang forever while it holds the interpreter (some do on files that promise too many frames), or
crash its process. So each slot is a separate process behind pipes: a silent one is killed, a crash is
noticed, and either costs only its current job.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from maedfer.data.pack.job import Job, SourceResult, WorkerFailed

WORKER = (sys.executable, "-m", "maedfer.data.pack.worker")

Jobs = queue.SimpleQueue[tuple[int, Job]]
Results = queue.SimpleQueue[tuple[int, SourceResult | WorkerFailed]]


def run_jobs(
    jobs: Sequence[tuple[int, Job]],
    workers: int,
    *,
    stall_timeout: float,
    source_timeout: float | None = None,
    command: Sequence[str] = WORKER,
) -> Generator[tuple[int, SourceResult]]:
    """Yields the number and the result of each job as soon as it is done, in any order.

    A job whose worker is silent, takes too long or crashes has the status `unreadable`.

    Args:
        jobs: Numbers and jobs.
        workers: Number of processes.
        stall_timeout: Seconds without a sign of life after which a worker is killed.
        source_timeout: Seconds that a job may take in all; None for no limit.
        command: The command that starts a worker.

    Raises:
        WorkerFailed: workers cannot start, or one reports that it cannot continue.
    """
    todo: Jobs = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    done: Results = queue.SimpleQueue()
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
            if isinstance(result, WorkerFailed):
                raise result
            yield number, result
            left -= 1
    finally:
        for slot in slots:
            slot.stop()


class _Slot(threading.Thread):
    """A thread that feeds one worker process, and starts another when it dies."""

    def __init__(self, command: Sequence[str], todo: Jobs, done: Results) -> None:
        super().__init__(daemon=True)
        self.command, self.todo, self.done = command, todo, done
        self.process: subprocess.Popen[bytes] | None = None
        self.began = self.heard = 0.0  # 0 between jobs
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
        except WorkerFailed as failure:
            self.done.put((number, failure))
        except OSError as error:
            self.done.put((number, WorkerFailed(str(error))))
        self.stop()

    def watch(self, stall_timeout: float, source_timeout: float | None) -> None:
        """Kills the worker when it was silent, or busy with one job, for too long."""
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
        """Kills the worker."""
        self.stopped = True
        if self.process is not None:
            self.process.kill()

    def _work(self, job: Job) -> SourceResult:
        """Sends a job to the worker and waits for its result, or for its end."""
        process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        self.killed = ""
        self.began = self.heard = time.monotonic()
        try:
            process.stdin.write(job.to_line())
            process.stdin.flush()
        except OSError:
            pass  # it died between two jobs, which shows at the end of its output
        for line in process.stdout:
            self.heard = time.monotonic()
            if line.startswith(b"{") and line.endswith(b"\n"):  # or it was killed while writing
                self.began = 0.0
                return SourceResult.from_line(line)
        self.process, self.began = None, 0.0
        code = process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return SourceResult("unreadable", self.killed or f"decoder crashed ({how})")

    def _start(self) -> subprocess.Popen[bytes]:
        """Starts a worker and waits for its first sign of life; its imports do not count as silence."""
        package = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self.process = process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is handled by the parent
        )
        assert process.stdout is not None
        if self.stopped:
            process.kill()
        if not process.stdout.readline():
            raise WorkerFailed(f"a worker process ended with code {process.wait()} before its first job")
        return process
