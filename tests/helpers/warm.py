"""A `maedfer` that starts in milliseconds: a stand-in program, and the server that forks the real command.

Importing Lightning costs every process six seconds of a core, and a test of four ranks pays it four times.
The server has imported everything and forks one process per command. The stand-in hands it its words,
environment, folder and streams, passes signals on, and ends as the command ends; killed, it takes it along.
"""

import atexit
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
from pathlib import Path

PRELOADED = [
    "maedfer.training.pretraining.command",
    "maedfer.training.finetuning.command",
    "maedfer.training.finetuning.evaluate",
    "matplotlib.backends.backend_agg",
    "deepspeed",
]

STAND_IN = """#!{python} -E
import os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
import json
request = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
server.sendall(request)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: server.send(bytes([number])))
code = int.from_bytes(server.recv(8), "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def forks() -> multiprocessing.context.ForkServerContext:
    """Returns a context whose processes are forked from one that has imported everything."""
    os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported, by the server
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def start_server(folder: Path) -> multiprocessing.Process:
    """Starts the server of a stand-in that `write_stand_in` writes for the same folder."""
    server = forks().Process(target=serve, args=(str(folder / "warm.sock"), os.getpid()))
    server.start()
    return server


def write_stand_in(path: Path, folder: Path) -> None:
    """Writes the stand-in as a program or as a module of Python."""
    path.write_text(STAND_IN.format(python=sys.executable, address=str(folder / "warm.sock")))
    path.chmod(0o755)


def serve(address: str, parent: int) -> None:
    """Accepts commands until the process of the tests is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        listening.settimeout(1)
        while True:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                if not Path(f"/proc/{parent}").exists():
                    return
                continue
            if os.fork() == 0:
                listening.close()
                connection.setblocking(True)
                answer(connection)


def answer(connection: socket.socket) -> None:
    """Forks the command of one stand-in, hands it the signals, and reports how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(1 << 16)
    words, environment, folder = json.loads(request)
    child = os.fork()
    if child == 0:
        connection.close()
        be(words, environment, folder, streams)
    for stream in streams:
        os.close(stream)

    def pass_signals_on() -> None:
        while number := connection.recv(1):
            os.killpg(child, number[0])
        os.killpg(child, signal.SIGKILL)  # the stand-in is gone

    threading.Thread(target=pass_signals_on, daemon=True).start()
    _, status = os.waitpid(child, 0)
    connection.send(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
    os._exit(0)


def be(words: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> None:
    """Runs a command in this process as a shell would start it."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["maedfer", *words]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    multiprocessing.set_start_method("fork", force=True)  # as where a command is started by hand
    code = 1
    try:
        code = run(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run(words: list[str]) -> int:
    """Runs the command, with the rank that Lightning reads when it is imported; `bench` is tools/bench.py."""
    if words[:1] == ["bench"]:
        import bench

        return bench.main(words[1:])
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    import helpers.no_pixels  # noqa: F401
    from maedfer.__main__ import main

    rank = next((os.environ[n] for n in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if n in os.environ), "0")
    rank_zero_only.rank = int(rank)
    return main(words)
