"""Proof: a file is whole or it is put aside, and of those put aside the newest few stay."""

from __future__ import annotations

import os

import pytest
from blake3 import blake3

from p2pcpn import limits
from p2pcpn.store.proof import BLOCK_BYTES, is_whole, put_aside


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1])
def test_a_file_is_whole_where_its_bytes_are_those_of_its_name(tmp_path, size):
    path, data = tmp_path / "file", bytes(size)
    path.write_bytes(data)
    assert is_whole(path, blake3(data).digest())
    path.write_bytes(data[:-1] if size else b"x")
    assert not is_whole(path, blake3(data).digest())
    with pytest.raises(FileNotFoundError):
        is_whole(tmp_path / "none", bytes(32))


def test_the_newest_damaged_files_stay_for_the_owner_to_look_at(tmp_path, caplog):
    (tmp_path / "ab").mkdir()
    for number in range(limits.CORRUPT_COPIES_MAX + 2):
        path = tmp_path / "ab" / f"file-{number}"
        path.write_text(str(number))
        os.utime(path, (number, number))
        put_aside(path, tmp_path / "damaged")
        assert not path.exists()
    kept = sorted(path.name for path in (tmp_path / "damaged").iterdir())
    assert kept == [f"abfile-{number}" for number in range(2, limits.CORRUPT_COPIES_MAX + 2)]
    assert len(caplog.records) == limits.CORRUPT_COPIES_MAX + 2
