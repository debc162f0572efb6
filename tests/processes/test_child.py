"""A command in its own process: its exit code, and the stop signals that reach it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from maedfer.processes import child as child_process
from maedfer.processes.child import PARENT_PIPE, run_child

STAND_IN = """
import os, signal, sys, time
from maedfer.processes import child as child_process
child_process.GRACE_S = 0.3
child_process.end_with_parent()
if sys.argv[1] == "end":
    sys.exit(int(sys.argv[2]))
if sys.argv[1] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[2])))
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, lambda *_: None)
with open("process", "w") as stream:
    stream.write(str(os.getpid()))
print(os.environ.get("SAID"), file=open("started", "w"))
end = time.monotonic() + 20
while time.monotonic() < end:
    time.sleep(1)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A `maedfer` that does what it is told; `python -m` finds it in the working directory."""
    (tmp_path / "maedfer" / "processes").mkdir(parents=True)
    (tmp_path / "maedfer" / "processes" / "__init__.py").write_text("")
    (tmp_path / "maedfer" / "__init__.py").write_text("")
    (tmp_path / "maedfer" / "__main__.py").write_text(STAND_IN)
    shutil.copy(child_process.__file__, tmp_path / "maedfer" / "processes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_until(happened, seconds=15):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("words", "code"), [(("end", "0"), 0), (("end", "2"), 2), (("die",), 137)])
def test_the_exit_code(words, code, stand_in):
    assert run_child(words) == code


@pytest.mark.parametrize("code", [143, 0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_this_process_reaches_the_other(number, code, stand_in):
    before = signal.getsignal(number)

    def send():
        wait_until(lambda: (stand_in / "started").exists() and (stand_in / "started").read_text())
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    # One that was just done counts as stopped; one that refused its input says so.
    expected = 2 if code == 2 else 128 + number
    assert run_child(("wait", str(code)), {**os.environ, "SAID": "yes"}) == expected
    sender.join()
    assert (stand_in / "started").read_text() == "yes\n" and signal.getsignal(number) == before


@pytest.mark.parametrize("kind", ["wait", "deaf"])
def test_a_command_ends_with_a_parent_that_was_killed(kind, stand_in):
    words = f"from maedfer.processes.child import run_child; run_child(('{kind}', '0'))"
    parent = subprocess.Popen([sys.executable, "-c", words])
    wait_until(lambda: (stand_in / "started").exists())
    child = int((stand_in / "process").read_text())
    assert is_running(child)
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    wait_until(lambda: not is_running(child), seconds=5)


def is_running(process):
    """Whether there is such a process, and it is more than an entry that nobody has asked for."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = f"/proc/{process}/stat"
    return not (os.path.exists(stat) and open(stat).read().rsplit(")", 1)[1].split()[0] == "Z")


def test_the_command_line_knows_of_its_parent(tmp_path):
    listening, held = os.pipe()
    os.close(held)
    words = ("synthesize", "--out", str(tmp_path / "faces"), "--clips", "5000", "--workers", "1")
    command = [sys.executable, "-m", "maedfer", *words]
    environment = {**os.environ, PARENT_PIPE: str(listening)}
    done = subprocess.run(command, env=environment, pass_fds=(listening,), timeout=30, capture_output=True)
    os.close(listening)
    assert done.returncode == -signal.SIGTERM


POOL = """
import multiprocessing, os, time
from maedfer.processes import child as child_process

def work():
    child_process.end_with_pool()
    with open("process.part", "w") as stream:
        stream.write(str(os.getpid()))
    os.rename("process.part", "process")
    time.sleep(60)

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    worker.join()
"""


def test_a_worker_of_a_pool_does_not_outlive_its_parent(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    parent = subprocess.Popen([sys.executable, "pool.py"], cwd=tmp_path)
    wait_until((tmp_path / "process").exists)
    worker = int((tmp_path / "process").read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(worker))
