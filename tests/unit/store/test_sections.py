"""Sections are kept chunk by chunk, whole or as far as they came, over the death of the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pcpn import limits
from p2pcpn.errors import StoreError
from p2pcpn.store import sections
from p2pcpn.store.sections import SectionStore
from p2pcpn.wire.manifests import Manifest
from p2pcpn.wire.sealing import digest

NAME = b"\1" * 32
CHUNKS = [bytes([number]) * (4096 + limits.CHUNK_SEAL_BYTES) for number in range(3)] + [b"z" * 33]
MANIFEST = Manifest(0, 0, 3 * 4096 + 5, 4096, b"".join(digest(chunk) for chunk in CHUNKS))


@pytest.fixture(params=[True, False])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> SectionStore:
    return SectionStore(tmp_path, durable=request.param)


def put(store: SectionStore, *indices: int) -> None:
    for index in indices:
        store.write(NAME, MANIFEST.sealed_range(index)[0], memoryview(CHUNKS[index]))


def test_a_section_is_whole_once_all_chunks_are_in_and_it_is_finished(store: SectionStore) -> None:
    assert list(store.scan()) == []
    store.begin(NAME, b"head")
    put(store, 2, 0)
    assert list(store.scan()) == [(NAME, b"head", False)]
    assert store.read(NAME, 0, 10) == CHUNKS[0][:10]
    put(store, 1, 3)
    store.finish(NAME)
    store.begin(NAME, b"another head")
    assert list(store.scan()) == [(NAME, b"another head", True)]
    assert store.read(NAME, MANIFEST.sealed_range(3)[0], 1 << 20) == CHUNKS[3]
    store.delete(NAME)
    assert list(store.scan()) == [] and [path for path in store.directory.rglob("*") if path.is_file()] == []
    with pytest.raises(StoreError, match="is not here"):
        store.read(NAME, 0, 1)


def test_after_a_crash_those_chunks_count_whose_bytes_are_right(store: SectionStore) -> None:
    list(store.scan())
    store.begin(NAME, b"head")
    assert store.verified(NAME, MANIFEST) == []
    put(store, 0, 2)  # a hole between them
    again = SectionStore(store.directory)
    assert again.verified(NAME, MANIFEST) == [0, 2]
    again.write(NAME, 5, b"spoilt")
    assert again.verified(NAME, MANIFEST) == [2]
    again.close()


def test_what_has_no_head_is_removed_at_the_start(store: SectionStore) -> None:
    list(store.scan())
    store.begin(NAME, b"head")
    folder = store.directory / "01"
    (folder / ("02" * 31 + ".part")).write_bytes(b"left")
    (folder / ("01" * 31 + ".new")).write_bytes(b"left")
    assert [name for name, _, _ in store.scan()] == [NAME]
    assert sorted(path.suffix for path in folder.iterdir()) == [".head"]


def test_few_files_are_open_and_much_is_never_left_to_flush(
    store: SectionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "OPEN_FILES_MAX", 2)
    monkeypatch.setattr(sections, "FLUSH_BYTES", 6)
    list(store.scan())
    for number in range(4):
        store.begin(bytes([number]) * 32, b"")
        store.write(bytes([number]) * 32, 0, b"1234")
        store.write(bytes([number]) * 32, 4, b"5678")
    assert len(store._files) == 2
    store.write(bytes(32), 8, b"9")
    assert store.read(bytes(32), 0, 100) == b"123456789"
    store.close()
    assert not store._files


def test_a_section_without_a_chunk_is_whole_too(store: SectionStore) -> None:
    list(store.scan())
    store.begin(NAME, b"head")
    store.finish(NAME)
    assert list(store.scan()) == [(NAME, b"head", True)]


def test_a_disk_that_refuses_is_told(store: SectionStore, tmp_path: Path) -> None:
    list(store.scan())
    with pytest.raises(StoreError):
        store.write(NAME, 0, b"no folder")
    with pytest.raises(StoreError):
        store.finish(NAME)
    (tmp_path / "01").write_bytes(b"a file in the way")
    for refused in (
        lambda: store.begin(NAME, b""), lambda: store.verified(NAME, MANIFEST), lambda: store.read(NAME, 0, 1),
        lambda: store.delete(NAME), lambda: list(store.scan()),
    ):  # fmt: skip
        with pytest.raises(StoreError):
            refused()


def test_who_comes_too_late_with_a_section_spoils_nothing(store: SectionStore) -> None:
    list(store.scan())
    store.begin(NAME, b"head")
    put(store, 0, 1, 2, 3)
    store.finish(NAME)
    store.write(NAME, 0, b"of another who brought it, too")
    store.finish(NAME)
    assert store.wrong(NAME, MANIFEST, 0, 4) == []
    store._path(NAME, sections.PART).write_bytes(b"left by a process that died")
    assert list(store.scan()) == [(NAME, b"head", True)] and not store._path(NAME, sections.PART).exists()


def test_a_damaged_section_is_unfinished_again_and_takes_what_it_lacks(store: SectionStore) -> None:
    list(store.scan())
    store.begin(NAME, b"head")
    put(store, 0, 1, 2, 3)
    store.finish(NAME)
    data = store._path(NAME, sections.DATA)
    spoilt = bytearray(data.read_bytes())
    spoilt[5000] ^= 1
    data.write_bytes(spoilt[:-1])  # and its end is gone
    assert store.wrong(NAME, MANIFEST, 0, 2) == [1] and store.wrong(NAME, MANIFEST, 2, 9) == [3]
    store.reopen(NAME)
    store.reopen(NAME)
    assert list(store.scan()) == [(NAME, b"head", False)]
    put(store, 1, 3)
    store.finish(NAME)
    assert store.wrong(NAME, MANIFEST, 0, 4) == []
    store.delete(NAME)
    assert store.wrong(NAME, MANIFEST, 0, 4) == [0, 1, 2, 3]


def test_it_is_known_whether_a_read_would_wait_for_the_disk(
    store: SectionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.at_hand(NAME, 0, 4)  # there is nothing to wait for
    list(store.scan())
    store.begin(NAME, b"head")
    put(store, 0)
    assert store.at_hand(NAME, 0, len(CHUNKS[0]))

    errors: list[OSError] = [BlockingIOError(), OSError(), BlockingIOError()]

    def refuse(*_: object) -> int:
        raise errors.pop(0)

    monkeypatch.setattr(os, "preadv", refuse)
    assert not store.at_hand(NAME, 0, 4) and store.at_hand(NAME, 0, 4)
    monkeypatch.delattr(os, "RWF_NOWAIT")
    assert store.at_hand(NAME, 0, 4) and len(errors) == 1
