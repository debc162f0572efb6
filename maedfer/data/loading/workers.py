"""Starts and ends the processes that make batches, and sets which signals they handle.

A spawned worker imports this module, so it must not import Lightning, which would take seconds in each.
"""

import atexit
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver, resource_tracker
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from maedfer.data.loading.stream import ClipStream


def worker_loader(stream: ClipStream, workers: int, start_method: str | None) -> DataLoader[Any]:
    """Returns a DataLoader over a stream of whole batches.

    Args:
        stream: Makes the batches.
        workers: Number of processes; 0 reads in this one.
        start_method: How they start (fork, spawn, forkserver); None takes the platform's default, but
            forkserver with several ranks on Linux.
    """
    forks = sys.platform == "linux" and torch.distributed.is_available()
    if start_method is None and forks and torch.distributed.is_initialized():
        start_method = "forkserver"
    if workers and start_method == "forkserver":
        _start_fork_server()
    atexit.unregister(_end_workers)  # once is enough, and after multiprocessing's own so as to run before it
    atexit.register(_end_workers)
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_prepare_worker,
        prefetch_factor=2 if workers else None,
        multiprocessing_context=start_method if workers else None,
    )


def _start_fork_server() -> None:
    """Starts the single-threaded fork server with SIGTERM blocked, so that workers fork from it.

    A rank of several must not be forked itself: a thread of its process group may hold a lock of the
    interpreter at that moment, and the worker would wait for it for ever (seen with gloo and Python 3.11).
    SIGTERM is sent to all processes of a run, and workers end with their server. The signal is blocked only
    while the server starts: one that arrives meanwhile still reaches this process.
    """
    multiprocessing.set_forkserver_preload([__name__, "maedfer.models.masking"])
    resource_tracker.ensure_running()  # the server starts it otherwise, and it lets the signal in again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _let_server_end() -> None:
    """Closes a worker's end of the pipe that keeps its fork server alive while it is open.

    Otherwise the workers of a killed rank would keep the server alive, and the server its workers, for ever.
    """
    server: Any = forkserver._forkserver  # typeshed lacks the descriptor
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _end_workers() -> None:
    """Kills the workers of a failing process, which would send each one SIGTERM and wait for ever.

    Workers ignore the first SIGTERM, see `_prepare_worker`.
    """
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it a failure
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _prepare_worker(worker: int) -> None:
    """Limits a worker to one thread, as there is a worker per core, and ignores the first stop signal.

    A terminal's Ctrl-C and a cluster's SIGTERM are sent to all processes of a run. The main process finishes
    its step and writes a checkpoint, for which it may need the next batch. A second SIGTERM ends a worker.
    """
    _let_server_end()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # held back in a fork server
