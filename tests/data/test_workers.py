"""Worker processes: they end with the process that they serve."""

import subprocess
import sys

from stream_shards import write_stream_shards

PROGRAM = """
import sys
from functools import partial

import numpy as np

from maedfer.data.plan import ShardTable
from maedfer.data.shard_reader import ShardReader
from maedfer.data.shards import read_index
from maedfer.data.stream import ClipMaker, ClipStream, in_this_order
from maedfer.data.workers import worker_loader

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
