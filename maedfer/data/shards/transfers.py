"""Transfers the missing bytes of a remote file from a web server or a command.

Each kind is a generator of the bytes that are missing at the end of a file, and empties the file first where
it has to start over.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from multiprocessing.connection import wait
from string import punctuation
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

BLOCK = 1 << 20
"""Largest number of bytes that are read at once."""

TROUBLES = (OSError, HTTPException, subprocess.SubprocessError)
"""Errors of a transfer that are worth a retry."""


def is_http(address: str) -> bool:
    """Returns whether an address is one of a web server."""
    return urlsplit(address).scheme in ("http", "https")


def missing_blocks(address: str, file: BinaryIO, timeout_s: float) -> Iterator[bytes]:
    """Yields the bytes that are missing at the end of a file; the caller appends them.

    Args:
        address: Of a web server, or any for which WebDataset has a command.
        file: The bytes received so far, at its end.
        timeout_s: Seconds without an answer, or without a byte, after which this gives up.

    Raises:
        OSError: nothing came for too long, the connection broke, the server or the command refused.
        HTTPException: the answer is not one of a web server.
        subprocess.SubprocessError: the command does not end.
    """
    return (_http_blocks if is_http(address) else _command_blocks)(address, file, timeout_s)


def _http_blocks(address: str, file: BinaryIO, timeout_s: float) -> Iterator[bytes]:
    """Yields the bytes missing at the end of a file, from a web server; empties the file if that starts over.

    Raises:
        OSError: no answer, another one than asked for, or one that breaks off.
    """
    have = file.tell()
    request = Request(quote(address, safe=punctuation), headers={"User-Agent": "maedfer"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urlopen(request, timeout=timeout_s)
    except HTTPError as error:
        if error.code == 416:  # no such range
            empty(file)
            raise OSError(f"the server's file ends at or before byte {have:,}") from error
        raise
    with answer:
        if have:
            _check_range(answer, file)
        promised, came = answer.length, 0
        while block := answer.read1(BLOCK):  # one read of the socket, so that its timeout counts
            came += len(block)
            yield block
    if promised is not None and came < promised:
        raise ConnectionError(f"the connection broke off after {file.tell():,} bytes")


def _check_range(answer: HTTPResponse, file: BinaryIO) -> None:
    """Checks that an answer continues where a file ends; empties the file if it starts over.

    Raises:
        OSError: the answer is another part of the file.
    """
    have = file.tell()
    if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return
    empty(file)
    if answer.status == 206:
        raise OSError(f"the server answers another range than from byte {have:,} on")


def _command_blocks(address: str, file: BinaryIO, timeout_s: float) -> Iterator[bytes]:
    """Yields all of a file, from the command that WebDataset has for an address; empties the file before.

    Raises:
        OSError: nothing came for too long, or the command failed.
        subprocess.TimeoutExpired: it does not end.
    """
    import webdataset  # slow to import, and only remote shards need it

    empty(file)
    pipe = webdataset.gopen(address)
    try:
        while wait([pipe.stream], timeout_s):
            # Past the buffer of the stream, which would wait until it is full.
            block = os.read(pipe.stream.fileno(), BLOCK)
            if not block:
                break
            yield block
        else:
            raise TimeoutError
        if code := pipe.proc.wait(timeout_s):
            raise OSError(f"its command ends with exit code {code}")
    finally:
        pipe.proc.kill()
        with suppress(OSError):  # of its exit code
            pipe.close()


def empty(file: BinaryIO) -> None:
    """Empties a file."""
    file.seek(0)
    file.truncate()
