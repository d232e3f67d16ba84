"""Shared files: filled once, never written again, gone when nobody needs them, within bounds."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.runtime.function import sharing
from p2pcpn.runtime.function.sharing import SharedFile, SharedFiles, filled, filled_by

OWNER = b"o" * 20


def name(number: int) -> tuple[bytes, bytes | None, bytes, bytes]:
    return OWNER, None, bytes([number]) * 32, bytes(32)


class Bench:
    def __init__(self) -> None:
        self.dropped: list[int] = []
        self.files = SharedFiles(lambda file: self.dropped.append(file.number))

    def make(self, number: int, data: bytes = b"data") -> SharedFile:
        made = self.files.make(name(number), data)
        assert made is not None
        return made


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.files.close()
    assert len(one.files) == one.files.size_bytes == 0


def read(file: SharedFile) -> bytes:
    return os.pread(file.descriptor, 100, 0)


def test_a_file_holds_what_it_was_made_of(bench: Bench) -> None:
    one, two = bench.make(1, b"one"), bench.make(2, b"")
    assert (read(one), read(two), bench.files.size_bytes) == (b"one", b"", 3)
    assert (one.number, two.number) == (1, 2) and bench.files.find(name(1)) is one
    assert name(1) in bench.files and name(3) not in bench.files and bench.files.find(name(3)) is None


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_nobody_can_write_to_a_file(monkeypatch: pytest.MonkeyPatch, has_memory_files: bool) -> None:
    if not has_memory_files:
        monkeypatch.setattr(sharing, "_SEALED", "no such thing")
    descriptor = filled(b"data")
    assert descriptor is not None
    try:
        with pytest.raises(OSError):
            os.pwrite(descriptor, b"D", 0)
        with pytest.raises(OSError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(OSError):
            mmap.mmap(descriptor, 4, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        with mmap.mmap(descriptor, 4, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mine:
            mine[0] = ord("D")
        assert os.pread(descriptor, 9, 0) == b"data"
    finally:
        os.close(descriptor)


def test_what_is_used_once_goes_with_its_batch_and_what_comes_again_stays(bench: Bench) -> None:
    one = bench.make(1)
    bench.files.use((one,))
    bench.files.release((one,))
    assert bench.dropped == [1] and bench.files.find(name(1)) is None
    again = bench.make(1)
    bench.files.use((again,))
    bench.files.release((again,))
    assert bench.dropped == [1] and bench.files.find(name(1)) is again
    two = bench.make(2)
    bench.files.use((two,))
    assert bench.files.find(name(2)) is two  # by a second batch, while the first runs
    bench.files.use((two,))
    bench.files.release((two,))
    bench.files.release((two,))
    assert bench.dropped == [1]
    bench.files.forget_unused()
    assert bench.dropped == [1, 2, 3]


def test_what_no_batch_uses_makes_room_the_least_recently_used_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "SHARED_BYTES_MAX", 10)
    one, _ = bench.make(1), bench.make(2)
    assert bench.files.find(name(1)) is one
    bench.make(3)
    assert bench.dropped == [2]
    bench.files.use((one,))
    bench.make(4, b"12345678")
    assert bench.dropped == [2, 3] and bench.files.size_bytes == 12, "what is in use stays, however much it is"
    bench.files.release((one,))
    assert bench.dropped == [2, 3, 1]


def test_there_are_no_more_files_than_the_process_can_bear(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARED_FILES_MAX", 2)
    bench.files.use((bench.make(1), bench.make(2)))
    assert bench.files.make(name(3), b"data") is None


def test_a_name_that_was_filled_twice_keeps_the_first(bench: Bench) -> None:
    one, descriptor = bench.make(1), filled(b"data")
    assert descriptor is not None and bench.files.add(name(1), descriptor, 4) is one
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_where_the_system_refuses_there_is_no_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "no space")

    monkeypatch.setattr(sharing, "write_all", refuse)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert bench.files.make(name(1), b"data") is None
    monkeypatch.setattr(sharing, "_SEALED", "no such thing")
    assert bench.files.make(name(1), b"data") is None
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_what_was_shared_before_is_remembered_within_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARED_SEEN_MAX", 1)
    for number in (1, 2):
        made = bench.make(number)
        bench.files.use((made,))
        bench.files.release((made,))
    assert [bench.make(number).repeated for number in (1, 2)] == [False, True]


def test_a_file_may_be_filled_in_place() -> None:
    def fill(view: memoryview) -> None:
        view[:] = b"data"

    descriptor = filled_by(4, fill)
    assert descriptor is not None
    with pytest.raises(OSError):
        os.pwrite(descriptor, b"D", 0)
    assert os.pread(descriptor, 9, 0) == b"data"
    os.close(descriptor)


def test_what_cannot_be_filled_raises_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: memoryview) -> None:
        raise ValueError

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(ValueError):
        filled_by(4, fail)
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
    assert filled_by(4, fail) is None
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_what_is_released_or_comes_after_the_end_leaves_nothing_open() -> None:
    bench = Bench()
    made = bench.make(1)
    bench.files.use((made,))
    bench.files.close()
    bench.files.release((made,))
    descriptor = filled(b"late")
    assert descriptor is not None
    assert bench.files.add((b"o", None, b"late", b"k"), descriptor, 4) is None
    with pytest.raises(OSError):
        os.fstat(descriptor)


# --- slabs -----------------------------------------------------------------------------------------------------------


def filled_with(data: bytes) -> Callable[[memoryview], None]:
    def fill(view: memoryview) -> None:
        view[:] = data

    return fill


def test_values_that_nobody_asked_for_before_follow_each_other_in_one_slab(bench: Bench) -> None:
    slabs, numbers = [], []
    for number, data in ((1, b"first"), (2, b"later")):
        made = bench.files.make_by(name(number), len(data), filled_with(data))
        assert made is not None and made.slab is not None and read(made)[: len(data)] == data
        slabs.append(made.slab)
        numbers.append(made.number)
        bench.files.use((made,))
        bench.files.release((made,))
    assert slabs[0] is slabs[1] and bench.dropped == numbers == [1, 2]
    assert bench.files.make_by(name(1), 5, filled_with(b"again")) is None, "it comes again: it gets a file that stays"


def test_a_slab_that_could_not_be_filled_waits_for_the_next_value(bench: Bench) -> None:
    def refuse(_: memoryview) -> None:
        raise PeerError("it was changed")

    with pytest.raises(PeerError):
        bench.files.make_by(name(1), 5, refuse)
    assert len(bench.files) == 0
    made = bench.files.make_by(name(1), 5, filled_with(b"right"))
    assert made is not None and made.slab is not None and made.slab.number == 1
    assert bench.files.make_by(name(1), 5, filled_with(b"right")) is made, "what is there already is given"


def test_slabs_go_when_nothing_is_used(bench: Bench) -> None:
    gone: list[int] = []
    bench.files = SharedFiles(lambda file: None, lambda slab: gone.append(slab.number))
    made = bench.files.make_by(name(1), 5, filled_with(b"value"))
    assert made is not None
    bench.files.forget_unused()
    assert gone == [1] and len(bench.files) == 0
