"""The process that packs sources: `python -m maedfer.data.pack.worker`, started by `pool`.

It reads jobs as JSON lines and writes lines: `.` is a sign of life, a JSON object the result of a job. When
the parent exits, its pipe closes and the worker exits at once, even in the middle of a video.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import cv2

from maedfer.data.pack.job import Job, SourceResult, WorkerFailed
from maedfer.data.pack.one_source import pack_source

BEAT_EVERY_S = 0.2


def main() -> None:
    """Packs sources until the parent closes the pipe."""
    cv2.setNumThreads(1)
    # what libraries print must not get into the protocol
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    jobs: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    out.write(b".\n")
    with suppress(BrokenPipeError):  # the parent is gone
        _serve(jobs, out)


def _serve(jobs: queue.Queue[bytes], out: BinaryIO) -> None:
    while True:
        job = Job.from_line(jobs.get())
        answer: SourceResult | WorkerFailed
        try:
            answer = pack_source(job, _beat(out))
        except OSError as error:  # of writing: the whole run cannot continue
            answer = WorkerFailed(error.strerror or str(error), error.errno)
        out.write(answer.to_line())


def _listen(jobs: queue.Queue[bytes]) -> None:
    """Reads jobs from the parent, and exits at the end of the pipe."""
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(0)


def _beat(out: BinaryIO) -> Callable[[], None]:
    """Returns a function that sends a sign of life, at most five times a second."""
    last = 0.0

    def alive() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= BEAT_EVERY_S:
            last = now
            out.write(b".\n")

    return alive


if __name__ == "__main__":
    main()
