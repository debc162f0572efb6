"""Worker processes: they end with the process that they serve."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.stream_shards import write_stream_shards

PROGRAM = """
import sys
from functools import partial

import numpy as np

from maedfer.data.shards.table import ShardTable
from maedfer.data.shards.reader import ShardReader
from maedfer.data.shards.format import read_index
from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.stream import ClipStream, in_this_order
from maedfer.data.loading.workers import worker_loader

reader = ShardReader(sys.argv[1], ShardTable.of(read_index(sys.argv[1]).of_split("train")))
stream = ClipStream(reader, partial(in_this_order, np.arange(20).reshape(10, 2)), ClipMaker())
batches = iter(worker_loader(stream, 1, None))
next(batches)
raise MemoryError
"""


def test_a_process_that_dies_does_not_wait_for_its_workers(tmp_path):
    """Something that nobody caught still holds the batches, and a worker heeds a second SIGTERM only."""
    words = [sys.executable, "-c", PROGRAM, str(write_stream_shards(tmp_path / "faces"))]
    died = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert died.returncode == 1 and died.stderr.splitlines()[-1] == "MemoryError"


SERVER = """
from multiprocessing import forkserver

from maedfer.data.loading.workers import _start_fork_server

_start_fork_server()
with open(f"/proc/{forkserver._forkserver._forkserver_pid}/status") as status:
    print(*(line for line in status if line.startswith("SigBlk")))
with open("/proc/self/status") as status:
    print(*(line for line in status if line.startswith("SigBlk")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_the_fork_server_is_deaf_to_the_signal_that_stops_a_run():
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, timeout=60)
    server, own = (int(line.split()[1], 16) >> 14 & 1 for line in done.stdout.split("\n") if line.strip())
    assert (server, own) == (1, 0)


KILLED = (
    PROGRAM.replace(
        "batches = iter(",
        """
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
loader = worker_loader(stream, 2, None)
batches = iter(""",
    )
    .replace("worker_loader(stream, 1, None))", "loader)")
    .replace(
        "raise MemoryError",
        """print(*(process.pid for process in multiprocessing.active_children()))
print(forkserver._forkserver._forkserver_pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)""",
    )
)
KILLED = "import multiprocessing, os, signal, torch\nfrom multiprocessing import forkserver\n" + KILLED


@pytest.mark.skipif(sys.platform != "linux", reason="ranks fork their workers from a server on Linux")
def test_a_rank_that_is_killed_leaves_nobody(tmp_path):
    words = [sys.executable, "-c", KILLED, str(write_stream_shards(tmp_path / "faces"))]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=60)
    processes = [Path(f"/proc/{number}") for number in killed.stdout.split()]
    assert killed.returncode == -9 and len(processes) == 3, killed.stderr
    end = time.monotonic() + 20
    while any(process.exists() for process in processes):
        assert time.monotonic() < end
        time.sleep(0.2)
