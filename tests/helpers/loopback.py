"""A web server for tests: serves a folder on the loopback, and fails as it is told."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STATUS = {"403": 403, "404": 404, "416": 416, "429": 429, "500": 500, "503": 503}


class Loopback:
    """Serves the files of a folder at `address`; `requests` notes (name, first byte asked for).

    `fail(name, faults)` says what goes wrong with the next requests of a file, one fault for each; then all
    is well. A fault is a status, or: `mute` (no answer), `stall` and `drop` (half of what was asked for, then
    silence or a closed connection), `corrupt` (one byte is wrong), `short` (a shorter file), `long` (a longer
    one), `no range` (all of it), `lie` (all of it, called the range asked for), `other range`, `moved` (to
    another address, where all is well).
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.requests, self.closing = folder, [], threading.Event()
        self._faults = {}
        handler = type("Handler", (_Handler,), {"loopback": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, name: str, faults: Iterable[str]) -> None:
        self._faults[name] = iter(faults)

    def starts(self, name: str) -> list[int]:
        """First byte of each request of a file."""
        return [start for asked, start in self.requests if asked == name]

    def fault(self, name: str) -> str | None:
        return next(self._faults.get(name, iter(())), None)


class _Handler(BaseHTTPRequestHandler):
    loopback: Loopback

    def log_message(self, *_):
        pass

    def do_GET(self):
        name, asked = self.path.strip("/").removesuffix("?moved"), self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.loopback.requests.append((name, start))
        fault, data = self.loopback.fault(name), (self.loopback.folder / name).read_bytes()
        if fault == "mute":
            self.loopback.closing.wait()
        elif fault == "moved":
            self.send_response(302)
            self.send_header("Location", f"{self.loopback.address}/{name}?moved")
            self.end_headers()
        elif fault in STATUS:
            self.send_error(STATUS[fault])
        else:
            self.answer(fault, changed(data, fault), start)

    def answer(self, fault, data, start):
        if start >= len(data):
            self.send_error(416)
            return
        first = 0 if fault in ("no range", "lie", "other range") else start
        self.send_response(206 if start and fault != "no range" else 200)
        if start and fault != "no range":
            told = 0 if fault == "other range" else start
            self.send_header("Content-Range", f"bytes {told}-{len(data) - 1}/{len(data)}")
        body = data[first:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("stall", "drop"):
            body = body[: len(body) // 2]
        with suppress(ConnectionError):  # of a client that had enough
            self.wfile.write(body)
            self.wfile.flush()
        if fault == "stall":
            self.loopback.closing.wait()


def changed(data: bytes, fault: str | None) -> bytes:
    """What the server takes a file for."""
    middle = len(data) // 2
    if fault == "corrupt":
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    return {"short": data[:-7], "long": data + b"more"}.get(fault, data)
