"""The processes that make batches: how they start, which signals they hear, how they end.

A spawned worker imports this module, so Lightning stays out: it would cost each of them seconds.
"""

import atexit
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver, resource_tracker

import cv2
import torch
from torch.utils.data import DataLoader

from maedfer.data.loading.stream import ClipStream


def worker_loader(stream: ClipStream, workers: int, start_method: str | None) -> DataLoader:
    """A DataLoader over a stream of whole batches.

    Args:
        stream: Makes the batches.
        workers: Processes; 0 reads in this one.
        start_method: How they start (fork, spawn, forkserver); None takes the platform's way, but with
            several ranks on Linux forkserver.
    """
    forks = sys.platform == "linux" and torch.distributed.is_available()
    if start_method is None and forks and torch.distributed.is_initialized():
        start_method = "forkserver"
    if workers and start_method == "forkserver":
        _start_fork_server()
    several = {"prefetch_factor": 2, "multiprocessing_context": start_method} if workers else {}
    atexit.unregister(_end_workers)  # once is enough, and after multiprocessing's own so as to run before it
    atexit.register(_end_workers)
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_prepare_worker,
        **several,
    )


def _start_fork_server() -> None:
    """Start the process that workers are forked from: one thread, this module, deaf to SIGTERM.

    One of several ranks must not be forked itself: a thread of its process group may hold a lock of
    the interpreter just then, and the worker waits for it for ever (seen with gloo and Python 3.11). SIGTERM
    comes to all processes of a run, and a worker does not outlive its server. The signal is held back, not
    ignored: one that comes just now still reaches this process.
    """
    multiprocessing.set_forkserver_preload([__name__, "maedfer.models.masking"])
    resource_tracker.ensure_running()  # the server starts it otherwise, and it lets the signal in again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _let_server_end() -> None:
    """Close a worker's end of the pipe that tells its fork server, by being open, that somebody needs it.

    When a rank is killed, its workers would keep the server alive and the server its workers, for ever.
    """
    server = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _end_workers() -> None:
    """End the workers that a failing process leaves: it would send each one SIGTERM, and wait for ever.

    One SIGTERM a worker ignores, see `_prepare_worker`.
    """
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it a failure
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _prepare_worker(worker: int) -> None:
    """One thread in each worker: there are as many workers as cores. Leave stop signals to the main process.

    A terminal's Ctrl-C and a cluster's SIGTERM come to all processes of a run. The main process finishes its
    step and writes a checkpoint, for which it may need the next batch. A second SIGTERM ends a worker.
    """
    _let_server_end()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held back in a fork server
