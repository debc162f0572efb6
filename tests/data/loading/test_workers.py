"""Worker processes: they end with the process that they serve."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.stream_shards import write_stream_shards

pytestmark = pytest.mark.long

PROGRAM = """
import multiprocessing, os, signal, sys
from functools import partial
from multiprocessing import forkserver

import numpy as np
import torch

from maedfer.data.loading.clip_maker import ClipMaker
from maedfer.data.loading.stream import ClipStream, in_this_order
from maedfer.data.loading.workers import worker_loader
from maedfer.data.shards.format import read_index
from maedfer.data.shards.reader import ShardReader
from maedfer.data.shards.table import ShardTable

reader = ShardReader(sys.argv[1], ShardTable.of(read_index(sys.argv[1]).of_split("train")))
stream = ClipStream(reader, partial(in_this_order, np.arange(20).reshape(10, 2)), ClipMaker())
"""

DYING = """
batches = iter(worker_loader(stream, 1, None))
next(batches)
raise MemoryError
"""

KILLED_RANK = """
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
loader = worker_loader(stream, 2, None)
batches = iter(loader)
next(batches)
server = forkserver._forkserver._forkserver_pid
print(*(process.pid for process in multiprocessing.active_children()), server)
for process in (server, "self"):
    with open(f"/proc/{process}/status") as status:
        print(*(line for line in status if line.startswith("SigBlk")), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(program, shards):
    words = [sys.executable, "-c", PROGRAM + program, str(shards)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_a_process_that_dies_does_not_wait_for_its_workers(tmp_path):
    """Something that nobody caught still holds the batches, and a worker heeds a second SIGTERM only."""
    died = run(DYING, write_stream_shards(tmp_path / "faces"))
    assert died.returncode == 1 and died.stderr.splitlines()[-1] == "MemoryError"


@pytest.mark.skipif(sys.platform != "linux", reason="ranks fork their workers from a server on Linux")
def test_the_fork_server_of_a_rank_blocks_sigterm_and_ends_with_it(tmp_path):
    killed = run(KILLED_RANK, write_stream_shards(tmp_path / "faces"))
    assert killed.returncode == -9, killed.stderr
    numbers, *blocked = (line for line in killed.stdout.splitlines() if line.strip())
    server, own = (int(line.split()[1], 16) >> 14 & 1 for line in blocked)
    assert (server, own) == (1, 0)
    processes = [Path(f"/proc/{number}") for number in numbers.split()]
    assert len(processes) == 3
    end = time.monotonic() + 20
    while any(process.exists() for process in processes):
        assert time.monotonic() < end
        time.sleep(0.2)
