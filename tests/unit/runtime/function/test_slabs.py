"""Slabs: one value after the other in the same memory, written by its maker alone, within bounds and given back."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest

from p2pcpn.runtime.function import slabs as module
from p2pcpn.runtime.function.slabs import Slab, Slabs, given

pytestmark = pytest.mark.skipif(not module.Slabs(lambda _: None)._possible, reason="no sealed memory here")

OURS = (b"o" * 32, None)
MIB = 1 << 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Bench:
    def __init__(self) -> None:
        self.dropped: list[int] = []
        self.slabs = Slabs(lambda slab: self.dropped.append(slab.number))

    def take(self, size_bytes: int = MIB, group: tuple[bytes, bytes | None] = OURS) -> Slab:
        slab = self.slabs.take(group, size_bytes)
        assert slab is not None
        return slab


@pytest.fixture
def bench() -> Iterator[Bench]:
    before, one = descriptors(), Bench()
    yield one
    one.slabs.close()
    assert (len(one.slabs), one.slabs.spare_bytes, descriptors()) == (0, 0, before)


def put(slab: Slab, data: bytes) -> None:
    def fill(view: memoryview) -> None:
        view[:] = data

    slab.fill(len(data), fill)


def test_the_next_value_lies_where_the_last_one_was(bench: Bench) -> None:
    one = bench.take()
    put(one, b"first")
    assert os.pread(one.descriptor, 5, 0) == b"first"
    bench.slabs.give_back(one)
    assert bench.slabs.spare_bytes == MIB
    again = bench.take(MIB - 1000)  # of about the same size
    put(again, b"later")
    assert again is one and os.pread(one.descriptor, 5, 0) == b"later" and bench.slabs.spare_bytes == 0
    bench.slabs.give_back(again)


def test_each_owner_and_project_has_memory_of_its_own_and_so_has_each_size(bench: Bench) -> None:
    one = bench.take()
    bench.slabs.give_back(one)
    others = [bench.take(MIB, (b"t" * 32, None)), bench.take(MIB, (OURS[0], b"project")), bench.take(MIB + 1)]
    assert one not in others and bench.take() is one
    for slab in (one, *others):
        bench.slabs.give_back(slab)
    assert bench.slabs.spare_bytes == 5 * MIB


def test_the_warmest_is_taken_first(bench: Bench) -> None:
    one, two = bench.take(), bench.take()
    bench.slabs.give_back(one)
    bench.slabs.give_back(two)
    assert bench.take() is two and bench.take() is one
    bench.slabs.give_back(one)
    bench.slabs.give_back(two)


def test_nobody_but_its_maker_can_write_there_or_change_its_size(bench: Bench) -> None:
    slab = bench.take()
    with pytest.raises(PermissionError):
        os.pwrite(slab.descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(slab.descriptor, 4096)
    for size_bytes in (0, 2 * MIB):
        with pytest.raises(PermissionError):
            os.ftruncate(slab.descriptor, size_bytes)
    bench.slabs.give_back(slab)


def test_what_a_task_has_is_never_filled_again(bench: Bench) -> None:
    one = bench.take()
    put(one, b"mine")
    with mmap.mmap(one.descriptor, MIB, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mine:
        given([one, None])
        bench.slabs.give_back(one)
        assert bench.dropped == [one.number] and len(bench.slabs) == 0
        two = bench.take()
        put(two, b"next")
        assert two.number != one.number and mine[:4] == b"mine"
        bench.slabs.give_back(two)


def test_what_is_spare_has_bounds_and_the_oldest_goes_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_SLABS_BYTES_MAX", 2 * MIB)
    made = [bench.take() for _ in range(3)]
    for slab in made:
        bench.slabs.give_back(slab)
    assert bench.dropped == [made[0].number] and bench.slabs.spare_bytes == 2 * MIB
    bench.slabs.give_back(bench.take(1))
    assert len(bench.slabs) == 2 and bench.slabs.spare_bytes == MIB + (512 << 10)
    bench.slabs.forget_unused()
    assert len(bench.dropped) == 4 and bench.slabs.spare_bytes == 0


def test_however_small_the_values_descriptors_have_a_bound(bench: Bench) -> None:
    before = descriptors()
    for owner in (b"a", b"b"):
        made = [bench.take(1, (owner, None)) for _ in range(64)]
        assert bench.slabs.take((owner, None), 1) is None
        for slab in made:
            bench.slabs.give_back(slab)
    assert len(bench.slabs) == 64 and descriptors() == before + 128


def test_nothing_is_kept_that_comes_back_after_the_end(bench: Bench) -> None:
    slab = bench.take()
    bench.slabs.close()
    bench.slabs.give_back(slab)
    assert bench.dropped == [slab.number] and len(bench.slabs) == 0


@pytest.mark.parametrize("size_bytes", [0, module.SLAB_BYTES_MAX + 1])
def test_other_sizes_have_files(bench: Bench, size_bytes: int) -> None:
    assert bench.slabs.take(OURS, size_bytes) is None


def test_where_the_system_has_no_such_memory_there_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()

    def refuse(*_: object) -> int:
        raise OSError(22, "no such seal, no room")

    for where, name in ((module.fcntl, "fcntl"), (os, "ftruncate")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, refuse)
            assert bench.slabs.take(OURS, MIB) is None
    assert descriptors() == before
    with monkeypatch.context() as patch:
        patch.delattr(os, "memfd_create")
        assert Slabs(lambda _: None).take(OURS, MIB) is None
