"""Reads the samples of a tar in sequence: members that stand next to each other and have one key."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Container, Iterator
from typing import BinaryIO

_MEMBER = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]*)")

Sample = dict[str, bytes]
"""The members of a sample by extension, and its key under `__key__`."""


class DamagedTar(Exception):
    """Reports a file that is not a tar, or breaks off."""


def iterate_samples(
    stream: BinaryIO, only: Container[str] | None = None, check_end: bool = False
) -> Iterator[Sample]:
    """Yields the samples of a tar in their order, with constant memory.

    Args:
        stream: The tar at its beginning, seekable.
        only: Extensions to read; other members are left out without reading them.
        check_end: Refuse a tar that does not end in zeros, before its last sample is yielded: `tarfile` takes
            a damaged header, or none, for the end.

    Raises:
        DamagedTar: the tar is damaged; the sample it breaks off in is not yielded.
    """
    sample: Sample = {}
    extensions: set[str] = set()
    name = ""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep all headers; not in typeshed
                name = info.name
                member = _MEMBER.fullmatch(name)
                if member is None or not info.isreg():
                    continue
                key, extension = member["key"].encode(), member["extension"].lower()
                if sample and (sample["__key__"] != key or extension in extensions):
                    yield sample
                    sample, extensions = {}, set()
                sample["__key__"] = key
                extensions.add(extension)
                if only is None or extension in only:
                    stream.seek(info.offset_data)
                    sample[extension] = stream.read(info.size)
                    if len(sample[extension]) != info.size:
                        raise DamagedTar(f"member {name} has {len(sample[extension])} of {info.size} bytes")
            if check_end:
                stream.seek(tar.offset)
                rest = stream.read()
                if not rest or rest.count(0) != len(rest):
                    raise DamagedTar(f"no whole member header behind {name}" if name else "no member header")
            if sample:
                yield sample
    except (OSError, DamagedTar):
        raise
    except Exception as error:  # a damaged header can be anything
        raise DamagedTar(str(error)) from error
