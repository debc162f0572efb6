"""Fetches remote files whole: with a stall timeout, retries that continue where they broke, and a check.

An http(s) address is read by Python's own client, which follows redirects and the proxies of the environment.
Any other address is read by the command that WebDataset's `gopen` has for it (`pipe:`, `gs:`, `hf:` and so
on). A broken http transfer continues at the byte where it broke, if the server can; a command starts over.

A file is used only when its size and checksum are those of the index, so a transfer that breaks or delivers
other bytes can neither damage a sample nor change the samples of a run. It is a temporary file without a name
(in `TMPDIR`), which vanishes however the process ends.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRandom
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from maedfer.data.shards.transfers import TROUBLES, empty, is_http, missing_blocks
from maedfer.errors import UserError

FIRST_PAUSE_S = 1.0
"""Pause before the second try, in seconds; each further pause is twice as long."""

LONGEST_PAUSE_S = 60.0

PASSING = (408, 425, 429)
"""HTTP errors (4xx) that are worth a retry; others are final."""

_log = logging.getLogger(__name__)


class FetchFailed(UserError):
    """Reports a remote file that cannot be fetched: its name, its address, the tries and the last cause."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its name for messages, its address, its size in bytes and checksum where known."""

    name: str
    address: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Fetcher:
    """Fetches files.

    Attributes:
        stall_timeout_s: Seconds without an answer, or without a byte, after which a try is given up.
        tries: Tries of a file.

    Raises:
        UserError: no time, or no try.
    """

    stall_timeout_s: float = 30.0
    tries: int = 6

    def __post_init__(self) -> None:
        if self.stall_timeout_s <= 0:
            raise UserError("stall_timeout_s", f"{self.stall_timeout_s} must be above 0")
        if self.tries < 1:
            raise UserError("fetch_tries", f"{self.tries} must be at least 1")

    def fetch(self, remote: RemoteFile, stop: threading.Event | None = None) -> BinaryIO:
        """Returns the whole file, verified, as a nameless temporary file at its beginning.

        Args:
            remote: The file.
            stop: Ends the fetch when it is set.

        Raises:
            FetchFailed: every try failed, or a further one would not help.
            FileNotFoundError: the server has no such file.
            CancelledError: `stop` was set.
        """
        _check_address(remote)
        stop = stop or threading.Event()
        file = tempfile.TemporaryFile(prefix="maedfer-")  # noqa: SIM115 (it is handed out)
        try:
            self._try(remote, file, stop)
        except BaseException:
            with suppress(OSError):  # a full disk fails once more
                file.close()
            raise
        return file

    def _try(self, remote: RemoteFile, file: BufferedRandom, stop: threading.Event) -> None:
        """Fills a file, in at most `tries` tries."""
        for number in range(1, self.tries + 1):
            try:
                self._fill(remote, file, stop)
                _verify(remote, file)
                return
            except TROUBLES as error:
                _check_hope(remote, error)
                cause = self._cause(error)
            if number < self.tries:
                pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (number - 1))
                _log.warning(
                    "%s: try %d of %d failed (%s); again in %g s",
                    *(remote.name, number, self.tries, cause, pause),
                )
                if stop.wait(pause):
                    raise CancelledError
        raise FetchFailed(
            "shards",
            f"{remote.name} could not be fetched from {remote.address}; try {self.tries} of {self.tries}: "
            f"{cause}. Check the address and the network, then start again (`resume=true` continues a run)",
        )

    def _fill(self, remote: RemoteFile, file: BufferedRandom, stop: threading.Event) -> None:
        """Appends the missing bytes; those received stay in the file when the transfer breaks."""
        have = file.seek(0, os.SEEK_END)
        if have and have == remote.size:
            return
        for block in missing_blocks(remote.address, file, self.stall_timeout_s):
            if stop.is_set():
                raise CancelledError
            file.write(block)
            if remote.size is not None and file.tell() > remote.size:
                return  # `_verify` refuses it

    def _cause(self, error: BaseException) -> str:
        """Describes an error in words."""
        if isinstance(error, HTTPError):
            return f"the server answers {error.code} {error.reason}"
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError | subprocess.TimeoutExpired):
            return f"nothing came for {self.stall_timeout_s:g} s"
        return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def fetched_in_turn(remotes: Iterable[RemoteFile], fetcher: Fetcher) -> Iterator[BinaryIO]:
    """Yields files in their order, each open until the next is requested; a thread fetches that one ahead.

    Raises:
        FetchFailed: see `Fetcher.fetch`, when it is that file's turn.
        FileNotFoundError: likewise.
    """
    stop, waiting = threading.Event(), iter(remotes)
    try:
        coming = _begin(waiting, fetcher, stop)
        while coming is not None:
            with coming.result() as file:
                coming = _begin(waiting, fetcher, stop)
                yield file
    finally:
        stop.set()


def _begin(waiting: Iterator[RemoteFile], fetcher: Fetcher, stop: threading.Event) -> Future[BinaryIO] | None:
    """Starts to fetch the next file; returns None where there is none."""
    remote = next(waiting, None)
    if remote is None:
        return None
    future: Future[BinaryIO] = Future()

    def run() -> None:
        try:
            future.set_result(fetcher.fetch(remote, stop))
        except BaseException as error:
            future.set_exception(error)

    # A thread of a `ThreadPoolExecutor`, which is no daemon, would delay the exit of the process.
    threading.Thread(target=run, daemon=True).start()
    return future


def _check_address(remote: RemoteFile) -> None:
    """Refuses addresses that no try could read.

    Raises:
        FetchFailed: with the remedy.
    """
    if is_http(remote.address):
        if "@" in urlsplit(remote.address).netloc:
            raise FetchFailed(
                "shards", "an http address with a password is not read; give 'pipe:curl -fsS ...{name}'"
            )
        return
    import webdataset  # slow to import, and only commands need it

    scheme = remote.address.partition(":")[0]
    if scheme not in webdataset.gopen_schemes:
        raise FetchFailed(
            "shards",
            f"{scheme}: addresses cannot be read; give a command that reads them, such as "
            "'pipe:aws s3 cp s3://bucket/faces/{name} -'",
        )


def _check_hope(remote: RemoteFile, error: BaseException) -> None:
    """Raises errors that no further try would change.

    Raises:
        FileNotFoundError: the server has no such file.
        FetchFailed: the server refuses, or the disk is full.
    """
    if isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in PASSING:
        text = (
            f"{remote.name} cannot be fetched: {remote.address} answers {error.code} {error.reason}; check "
            "`shards`"
        )
        if error.code in (404, 410):
            raise FileNotFoundError(text) from error
        raise FetchFailed("shards", text) from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise FetchFailed(
            "shards",
            f"{tempfile.gettempdir()} has no room for {remote.name}: set TMPDIR to a folder on a disk with "
            "space for two shards of each loader worker",
        ) from error


def _verify(remote: RemoteFile, file: BufferedRandom) -> None:
    """Rewinds a file with the right content; empties one with another content, keeps one that lacks its end.

    Raises:
        OSError: it is not complete, or has another content.
    """
    size = file.seek(0, os.SEEK_END)
    if remote.size is not None and size < remote.size:
        raise OSError(f"{size:,} of {remote.size:,} bytes came")
    file.seek(0)
    if remote.sha256 is not None and hashlib.file_digest(file, "sha256").hexdigest() != remote.sha256:
        empty(file)
        raise OSError("its content is not what index.json says (sha256)")
    file.seek(0)
