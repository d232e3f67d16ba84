"""Files are read at any place; what cannot be is spooled first."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from p2pcpn.client.files import READ_BYTES, measured, read_at, readable, write_at
from p2pcpn.errors import StoreError, UsageError

DATA = bytes(range(256)) * 8192 + b"end"


def test_paths_bytes_and_streams_are_read_at_any_place(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(DATA)
    assert len(DATA) > READ_BYTES
    for source in (path, str(path), DATA, memoryview(DATA), io.BytesIO(DATA)):
        with readable(source) as file:
            assert measured(file) == (len(DATA), blake3(DATA).digest())
            assert read_at(file, len(DATA) - 5, 5) == DATA[-5:]


def test_a_pipe_is_spooled(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(DATA,))
    writer.start()
    with readable(pipe) as file:
        assert measured(file) == (len(DATA), blake3(DATA).digest())
    writer.join()


def test_what_is_written_stands_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"0123456789")
    file = os.open(path, os.O_RDWR)
    write_at(file, memoryview(b"ab"), 4)
    os.close(file)
    assert path.read_bytes() == b"0123ab6789"


def test_a_disk_without_room_for_the_spool_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match=r"a temporary file in /.*: No space left"), readable(b"x"):
        pass


def test_a_file_that_is_not_there_or_becomes_shorter_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"), readable(tmp_path / "none"):
        pass
    with pytest.raises(UsageError, match="Is a directory"), readable(tmp_path):
        pass
    with pytest.raises(ConnectionError), readable(b"123"):  # what is done with it is none of its business
        raise ConnectionError
    with readable(b"123") as file, pytest.raises(OSError, match="shorter"):
        read_at(file, 1, 5)
