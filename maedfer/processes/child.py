"""Runs a command of `maedfer` in a child process that stops when this one does.

The parent calls `run_child`, the child `end_with_parent`, and a worker of a multiprocessing pool
`end_with_pool`.
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
"""Environment variable with the number of a pipe whose other end closes when the parent exits."""

GRACE_S = 15.0
"""Seconds that a command has to stop in order (write a checkpoint) after its parent has exited."""


def run_child(args: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Runs a command to its end and returns its exit code, 128 + n where signal n ended it.

    A terminal sends Ctrl-C to both processes. A signal to this process alone is passed on to the child as
    SIGTERM. After a signal, the exit code is that of the first signal, even where the child had just
    finished, because the user wants to stop.

    Args:
        args: the words after `maedfer`.
        environment: environment of the command; None takes this process's.
    """
    read_end, write_end = os.pipe()
    environment = {**(environment or os.environ), PARENT_PIPE: str(read_end)}
    received: list[int] = []
    child: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in child:
            process.terminate()

    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        command = [sys.executable, "-m", "maedfer", *args]
        child.append(subprocess.Popen(command, env=environment, pass_fds=(read_end,)))
        if received:  # after the handlers were set, before the process existed
            child[0].terminate()
        code = child[0].wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)
    if received and (code <= 0 or code > 128):
        return 128 + received[0]
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """Makes this process exit when its parent does, if `run_child` started it.

    A parent that is killed passes no signal on. Without this, the child would keep writing to the folder in
    which the user then continues.
    """
    number = os.environ.pop(PARENT_PIPE, None)  # children of this process do not have the pipe
    if number is not None:
        # Nothing is ever sent: the read returns when the last process that holds the write end exits.
        _stop_after(lambda: os.read(int(number), 1))


def end_with_pool() -> None:
    """Makes a worker of a multiprocessing pool exit when the process that started it does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _stop_after(parent.join)


def _stop_after(wait_for_end: Callable[[], object]) -> None:
    """Stops this process when a call returns: by SIGTERM, and by force after the grace time."""

    def stop() -> None:
        wait_for_end()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
