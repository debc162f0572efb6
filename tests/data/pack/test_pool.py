"""The pool of packing workers, with workers that do as they are told."""

import json
import sys
from dataclasses import dataclass

import pytest

from maedfer.data.pack.job import WorkerFailed
from maedfer.data.pack.pool import run_jobs

pytestmark = pytest.mark.long

FAKE_WORKER = """
import json, os, sys, time
print(".", flush=True)
for line in sys.stdin:
    do = json.loads(line)["do"]
    if do == "crash": os.abort()
    if do == "hang": time.sleep(60)
    if do == "babble":
        while True: print(".", flush=True); time.sleep(0.1)
    if do == "halt":
        print('{"status": "ok", "samples": [', end="", flush=True)
        os.abort()
    if do == "full": print(json.dumps({"fatal": "No space left", "errno": 28}), flush=True)
    print(json.dumps({"status": "ok", "pid": os.getpid()}), flush=True)
"""


@dataclass
class FakeJob:
    do: str

    def to_line(self):
        return json.dumps({"do": self.do}).encode() + b"\n"


def fake_jobs(*work, **options):
    jobs = [(number, FakeJob(do)) for number, do in enumerate(work)]
    options = {"stall_timeout": 1.0, "command": (sys.executable, "-c", FAKE_WORKER)} | options
    return dict(run_jobs(jobs, 2, **options))


def test_the_pool_survives_crashes_hangs_and_endless_sources():
    results = fake_jobs("fine", "crash", "hang", "babble", "fine", "fine", source_timeout=2.0)
    assert [results[i].status for i in (0, 4, 5)] == ["ok"] * 3
    assert results[1].reason == "decoder crashed (SIGABRT)"
    assert results[2].reason.startswith("decoder stalled (no frame in 1 s)")
    assert results[3].reason == "not done after 2 s (--source-timeout)"


def test_the_pool_stops_where_nothing_can_go_on():
    with pytest.raises(WorkerFailed, match="No space left") as caught:
        fake_jobs("fine", "full", "hang")
    assert caught.value.errno == 28
    with pytest.raises(WorkerFailed, match="ended with code 3"):
        fake_jobs("fine", command=(sys.executable, "-c", "raise SystemExit(3)"))


def test_a_worker_that_dies_while_it_answers_has_crashed():
    results = fake_jobs("halt", "fine")
    assert results[0].reason == "decoder crashed (SIGABRT)" and results[1].status == "ok"
