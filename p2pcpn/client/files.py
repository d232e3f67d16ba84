"""Files that are read and written at any place: what a put reads from, what a get writes to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from blake3 import blake3

from p2pcpn.errors import UsageError
from p2pcpn.wire.codec import Buffer

READ_BYTES: Final = 1 << 20


@contextmanager
def readable(source: str | os.PathLike[str] | Buffer | IO[bytes]) -> Iterator[int]:
    """A descriptor that can be read at any place. What cannot is spooled to a temporary file first."""
    try:
        if isinstance(source, (str, os.PathLike)):
            with open(source, "rb", buffering=0) as file:
                if not _seekable(file.fileno()):
                    with _spooled(file) as spool:
                        yield spool.fileno()
                    return
                yield file.fileno()
            return
        with tempfile.TemporaryFile("w+b", buffering=0) as spool:
            if isinstance(source, (bytes, bytearray, memoryview)):
                write_at(spool.fileno(), memoryview(source), 0)
            else:
                _spool(source, spool)
            yield spool.fileno()
    except OSError as error:
        raise UsageError(f"{error.filename or source!r}: {error.strerror or error}") from error


def _seekable(file: int) -> bool:
    try:
        os.pread(file, 1, 0)
    except OSError:
        return False
    return True


@contextmanager
def _spooled(file: Any) -> Iterator[Any]:
    with tempfile.TemporaryFile("w+b", buffering=0) as spool:
        _spool(file, spool)
        yield spool


def _spool(file: Any, spool: Any) -> None:
    while data := file.read(READ_BYTES):
        write_at(spool.fileno(), memoryview(data), spool.tell())
        spool.seek(0, os.SEEK_END)


def measured(file: int) -> tuple[int, bytes]:
    """Size and BLAKE3 of a file."""
    hasher, at = blake3(), 0
    while data := os.pread(file, READ_BYTES, at):
        hasher.update(data)
        at += len(data)
    return at, hasher.digest()


def read_at(file: int, start: int, size: int) -> bytes:
    data = os.pread(file, size, start)
    while len(data) < size:
        more = os.pread(file, size - len(data), start + len(data))
        if not more:
            raise OSError("the file became shorter while it was read")
        data += more
    return data


def write_at(file: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(file, data, start)
        start, data = start + written, data[written:]
