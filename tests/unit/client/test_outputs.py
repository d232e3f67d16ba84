"""Output files are taken from a pickled result without unpickling it, and only plain ones are written."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.client.outputs import archive_of, save_files
from p2pcpn.client.scripts import MAGIC, Outputs
from p2pcpn.errors import PeerError, StoreError


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return packed.getvalue()


@pytest.mark.parametrize("size", [1, 70_000])
def test_files_come_out_of_a_pickle_that_is_never_carried_out(size: int, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> object:
            return (open, (str(tmp_path / "carried out"), "w"))

    made = archive({"a": b"x" * size, "deep/b": b""})
    pickled = pickle.dumps(Outputs(MAGIC + made, [Bomb(), MAGIC + b"mine"]), protocol=5)
    found = archive_of(pickled)
    assert found == made
    assert save_files(found, tmp_path / "out") == 2
    assert (tmp_path / "out" / "a").read_bytes() == b"x" * size and (tmp_path / "out" / "deep" / "b").exists()
    assert not (tmp_path / "carried out").exists()


def test_a_result_that_only_looks_like_one_has_no_files() -> None:
    for value in (None, MAGIC + b"x", ["p2pcpn.client.scripts", MAGIC], Outputs(b"no archive", None)):
        assert archive_of(pickle.dumps(value, protocol=5)) is None
    assert archive_of(b"no pickle") is None and archive_of(b"") is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_result_without_files(data: bytes) -> None:
    assert archive_of(data) is None


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "c:x", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcpn.client.outputs._ELSEWHERE", "\\:")  # as on Windows
    with pytest.raises(PeerError, match="no plain name"):
        save_files(archive({"good": b"1", name: b"2"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="no names of files there")
def test_a_time_is_a_good_name_where_the_system_thinks_so(tmp_path: Path) -> None:
    assert save_files(archive({"run 12:30": b"1", "a\\b": b"2"}), tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a\\b", "run 12:30"]


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="none that a worker makes"):
        save_files(archive({"zeros": bytes(1 << 20)}, zipfile.ZIP_DEFLATED), tmp_path)
    with pytest.raises(PeerError, match="cannot be read"):
        save_files(b"PK no archive", tmp_path)


def test_a_disk_that_refuses_is_told() -> None:
    with pytest.raises(StoreError):
        save_files(archive({"a": b"1"}), Path("/dev/null/out"))
