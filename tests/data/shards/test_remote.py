"""Remote shards: what breaks is tried again and continued, what is wrong never arrives, nothing stays."""

import errno
import hashlib
import io
import itertools
import multiprocessing
import tempfile
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from helpers.loopback import Loopback

from maedfer.data.shards import remote
from maedfer.data.shards.remote import Fetcher, FetchFailed, RemoteFile, fetched_in_turn
from maedfer.errors import UserError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
HALF, THREE_QUARTERS = 1_500_000, 2_250_000

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture
def server(tmp_path):
    (tmp_path / "x.tar").write_bytes(CONTENT)
    with Loopback(tmp_path) as server:
        yield server


def patience(*faults):
    """Seconds to wait for bytes: few only where the server is really silent, as this machine may be slow."""
    return 1.0 if {"mute", "stall"} & set(faults) else 30.0


def wanted(address, content=CONTENT):
    return RemoteFile("x.tar", f"{address}", len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    "faults, starts",
    [
        ([], [0]),
        (["mute"], [0, 0]),
        (["500", "503", "429"], [0, 0, 0, 0]),
        (["stall"], [0, HALF]),
        (["drop", "drop"], [0, HALF, THREE_QUARTERS]),
        (["drop", "no range"], [0, HALF]),
        (["drop", "lie"], [0, HALF, 0]),
        (["drop", "other range"], [0, HALF, 0]),
        (["drop", "416"], [0, HALF, 0]),
        (["corrupt"], [0, 0]),
        (["drop", "corrupt"], [0, HALF, 0]),
        (["drop", "moved"], [0, HALF, HALF]),
        (["short"], [0, len(CONTENT) - 7]),
        (["short", "416"], [0, len(CONTENT) - 7, 0]),
        (["long"], [0, 0]),
    ],
)
def test_a_file_arrives_as_it_is_whatever_goes_wrong_before(server, faults, starts):
    server.fail("x.tar", faults)
    with Fetcher(patience(*faults)).fetch(wanted(f"{server.address}/x.tar")) as file:
        assert file.read() == CONTENT
    assert server.starts("x.tar") == starts


@pytest.mark.parametrize(
    "fault, tries, cause",
    [
        ("corrupt", 3, "not what index.json says"),
        ("500", 2, "the server answers 500 Internal Server Error"),
        ("mute", 2, r"nothing came for 1 s"),
        ("stall", 1, r"nothing came for 1 s"),
        ("drop", 2, r"broke off after 2,250,000 bytes"),
        ("short", 3, r"2,999,993 of 3,000,000 bytes came"),
    ],
)
def test_after_the_last_try_one_error_says_what_was_tried(server, fault, tries, cause):
    server.fail("x.tar", itertools.repeat(fault))
    told = rf"^shards: x.tar .*{server.address}/x.tar; try {tries} of {tries}: .*{cause}.*Check the address"
    with pytest.raises(FetchFailed, match=told):
        Fetcher(patience(fault), tries).fetch(wanted(f"{server.address}/x.tar"))
    assert len(server.requests) == tries


@pytest.mark.parametrize("fault, kind", [("404", FileNotFoundError), ("403", FetchFailed)])
def test_what_a_server_refuses_is_not_asked_for_again(server, fault, kind):
    server.fail("x.tar", [fault])
    with pytest.raises(kind, match=rf"x.tar cannot be fetched: {server.address}/x.tar answers {fault}"):
        Fetcher().fetch(wanted(f"{server.address}/x.tar"))
    assert len(server.requests) == 1


def test_nobody_at_the_address(server):
    server.__exit__()
    with pytest.raises(FetchFailed, match="try 2 of 2: Connection refused"):
        Fetcher(tries=2).fetch(wanted(f"{server.address}/x.tar"))


def test_pauses_grow_and_are_told(monkeypatch, server, caplog):
    class Noting(threading.Event):
        pauses = ()

        def wait(self, seconds):
            self.pauses += (seconds,)

    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 5.0)
    server.fail("x.tar", ["500"] * 6)
    stop = Noting()
    Fetcher(tries=7).fetch(wanted(f"{server.address}/x.tar"), stop).close()
    assert stop.pauses == (5, 10, 20, 40, 60, 60)
    assert "x.tar: try 3 of 7 failed (the server answers 500 Internal Server Error); again in 20 s" in (
        caplog.text
    )


def test_a_command_is_run_again_until_its_output_is_right(tmp_path):
    path, mark = tmp_path / "x.tar", tmp_path / "mark"
    path.write_bytes(CONTENT)
    for spoiled in ("head -c 9 {path}", "head -c 9 {path}; exit 3", "tac {path}", "cat {path} {path}"):
        mark.unlink(missing_ok=True)
        command = f"test -e {mark} && cat {path} || (touch {mark}; {spoiled.format(path=path)})"
        with Fetcher(5.0, tries=2).fetch(wanted(f"pipe:{command}")) as file:
            assert file.read() == CONTENT
        assert mark.exists()


def test_a_command_that_fails_or_stalls_is_given_up():
    with pytest.raises(FetchFailed, match=r"x.tar .*pipe:exit 3; try 2 of 2: .* exit code 3"):
        Fetcher(tries=2).fetch(RemoteFile("x.tar", "pipe:exit 3"))
    for stalling in ("exec sleep 60", "echo; exec sleep 60", "exec >&-; exec sleep 60"):
        started = time.monotonic()
        with pytest.raises(FetchFailed, match=r"try 1 of 1: nothing came for 0.2 s"):
            Fetcher(0.2, tries=1).fetch(RemoteFile("x.tar", f"pipe:{stalling}"))
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "address, message",
    [
        ("s3://bucket/x.tar", r"^shards: s3: addresses cannot be read.*pipe:aws s3 cp"),
        ("https://me:secret@host/x.tar", r"a password is not read; give 'pipe:curl"),
    ],
)
def test_addresses_that_nothing_reads_are_refused_with_the_remedy(address, message):
    with pytest.raises(FetchFailed, match=message) as refused:
        Fetcher().fetch(RemoteFile("x.tar", address))
    assert "secret" not in str(refused.value)
    for settings in ((0.0, 6), (30.0, 0)):
        with pytest.raises(UserError, match=r"^(stall_timeout_s|fetch_tries): "):
            Fetcher(*settings)


def until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came about")


def test_the_next_file_and_no_further_is_fetched_while_one_is_read(server):
    files = [wanted(f"{server.address}/x.tar")] * 4
    turns = fetched_in_turn(files, Fetcher())
    first = next(turns)
    until(lambda: len(server.requests) == 2)
    time.sleep(0.1)
    assert len(server.requests) == 2 and first.read() == CONTENT
    second = next(turns)
    assert first.closed and second.read() == CONTENT
    assert len(list(turns)) == 2 and len(server.requests) == 4


def test_a_reader_that_leaves_ends_the_transfer(server):
    server.fail("x.tar", [None, "stall"])
    before = threading.active_count()
    turns = fetched_in_turn([wanted(f"{server.address}/x.tar")] * 3, Fetcher())
    next(turns)
    until(lambda: len(server.requests) == 2)
    turns.close()
    server.closing.set()
    until(lambda: threading.active_count() <= before)
    assert len(server.requests) == 2


def test_a_transfer_ends_at_the_next_block_when_it_is_told_to(server):
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        Fetcher().fetch(wanted(f"{server.address}/x.tar"), stop)
    assert server.starts("x.tar") == [0]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into another process through /proc")
def test_a_killed_process_leaves_nothing_behind(server, temporary):
    server.fail("x.tar", ["stall"])
    process = multiprocessing.get_context("fork").Process(
        target=Fetcher(60.0).fetch, args=(wanted(f"{server.address}/x.tar"),)
    )
    process.start()
    descriptors = Path(f"/proc/{process.pid}/fd")
    until(lambda: any(link.stat().st_size >= HALF for link in descriptors.iterdir() if link.is_file()))
    process.kill()
    process.join()
    assert list(temporary.iterdir()) == []


def test_a_full_disk_is_named(monkeypatch, server, temporary):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: Full())
    with pytest.raises(FetchFailed, match=rf"{temporary} has no room for x.tar: set TMPDIR"):
        Fetcher().fetch(wanted(f"{server.address}/x.tar"))
    assert len(server.requests) == 1
