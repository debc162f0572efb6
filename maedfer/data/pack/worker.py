"""The process that packs sources: `python -m maedfer.data.pack.worker`, started by `pack_pool`.

Jobs come in as JSON lines. Lines go out: `.` is a sign of life, a JSON object is the result of the job. When
the parent is gone its pipe closes, and the worker ends at once, even in the middle of a video.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO

import cv2

from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.pack.one_source import Job, pack_source
from maedfer.data.pack.settings import StoreSettings
from maedfer.data.video.source import Source

BEAT_EVERY_S = 0.2


def main() -> None:
    """Work until the parent closes the pipe."""
    cv2.setNumThreads(1)
    # libraries that print must not write into the protocol
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    jobs: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    out.write(b".\n")
    with suppress(BrokenPipeError):  # the parent is gone: nobody is left to tell
        _serve(jobs, out)


def _serve(jobs: queue.Queue[bytes], out: BinaryIO) -> None:
    while True:
        out.write(json.dumps(work(json.loads(jobs.get()), _beat(out))).encode() + b"\n")


def work(message: dict[str, Any], alive: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Do one job: the result as plain values, or under `fatal` why the whole run cannot go on.

    Args:
        message: A `Job` as plain values.
        alive: Called now and then.
    """
    types = {"source": Source, "settings": CropSettings, "store": StoreSettings}
    job = Job(**message | {name: make(**message[name]) for name, make in types.items()})
    try:
        return asdict(pack_source(job, alive))
    except OSError as error:
        return {"fatal": error.strerror or str(error), "errno": error.errno}


def _listen(jobs: queue.Queue[bytes]) -> None:
    """Take jobs from the parent; the end of the pipe is the end of the process."""
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(0)


def _beat(out: BinaryIO) -> Callable[[], None]:
    """A sign of life that is sent at most five times a second."""
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
