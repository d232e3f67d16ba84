"""Files that are read and written at any place: what a put reads from, what a get writes to."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from blake3 import blake3

from p2pcpn.errors import StoreError, UsageError
from p2pcpn.wire.codec import Buffer

READ_BYTES: Final = 1 << 20


@contextmanager
def readable(source: str | os.PathLike[str] | Buffer | IO[bytes]) -> Iterator[int]:
    """A descriptor that can be read at any place. What cannot is spooled to a temporary file first.

    Raises :class:`UsageError` where there is nothing to be read, :class:`StoreError` where that has no room.
    """
    try:
        file = _opened(source)
    except OSError as error:
        named = error.filename or (source if isinstance(source, (str, os.PathLike)) else "what was to be read")
        raise UsageError(f"{named}: {error.strerror or error}") from error
    with file:
        yield file.fileno()


def _opened(source: str | os.PathLike[str] | Buffer | IO[bytes]) -> IO[bytes]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _spooled(io.BytesIO(source))
    if not isinstance(source, (str, os.PathLike)):
        return _spooled(source)
    file = open(source, "rb", buffering=0)  # noqa: SIM115 (who asked closes it)
    if _seekable(file.fileno()):
        return file
    with file:
        return _spooled(file)


def _seekable(file: int) -> bool:
    try:
        os.pread(file, 1, 0)
    except OSError as error:
        if error.errno != errno.ESPIPE:
            raise
        return False
    return True


@contextmanager
def spooling() -> Iterator[None]:
    """Writes to a temporary file. Raises :class:`StoreError` where its disk refuses."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"a temporary file in {tempfile.gettempdir()}: {error.strerror or error}") from error


def _spooled(file: Any) -> IO[bytes]:
    spool, at = tempfile.TemporaryFile("w+b", buffering=0), 0  # noqa: SIM115 (who asked closes it)
    try:
        while data := file.read(READ_BYTES):
            with spooling():
                write_at(spool.fileno(), memoryview(data), at)
            at += len(data)
    except BaseException:
        spool.close()
        raise
    return spool


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
