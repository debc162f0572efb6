"""A command of `maedfer` in a process of its own, which may start further ranks, and stops with this one.

The one side is `run_child`, the other `end_with_parent`; workers of a pool have `end_with_pool`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

PARENT_PIPE = "MAEDFER_PARENT_PIPE"
"""Variable with the number of the pipe whose other end closes when the parent is gone."""

GRACE_S = 15.0
"""Seconds in which a command may stop in order (write a checkpoint) when its parent is gone."""


def run_child(words: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command to its end; returns its exit code, 128 + n where signal n ended it.

    A terminal's Ctrl-C comes to both processes; a signal to this one alone is passed on, as SIGTERM. Where
    one came, the code is that of the first, also if the command was just done: its user wants to stop.

    Args:
        words: the words behind `maedfer`.
        environment: environment of the command; None takes this process's.
    """
    listening, held = os.pipe()
    environment = {**(environment or os.environ), PARENT_PIPE: str(listening)}
    received: list[int] = []
    child: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in child:
            process.terminate()

    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        command = [sys.executable, "-m", "maedfer", *words]
        child.append(subprocess.Popen(command, env=environment, pass_fds=(listening,)))
        if received:  # between the handlers and the process
            child[0].terminate()
        code = child[0].wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(listening)
        os.close(held)
    if received and (code <= 0 or code > 128):
        return 128 + received[0]
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """Stop this process, if `run_child` started it, as soon as the one that did is gone.

    One that was killed passes no signal on. Its command would go on and write to the same folder as the one
    with which its user continues.
    """
    number = os.environ.pop(PARENT_PIPE, None)  # further processes do not have the pipe
    if number is not None:
        # Nothing is ever sent: reading ends when the last process with the other end does.
        _stop_after(lambda: os.read(int(number), 1))


def end_with_pool() -> None:
    """The same for a worker of a pool, which multiprocessing started."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _stop_after(parent.join)


def _stop_after(end: Callable[[], object]) -> None:
    """Stop this process as soon as `end` returns, in order if that can be."""

    def wait() -> None:
        end()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
