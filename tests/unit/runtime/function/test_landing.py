"""Results in lent memory: what was put is taken, room is used again, and whatever a worker says is checked."""

from __future__ import annotations

import fcntl
import os
import pickle
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn.errors import PeerError
from p2pcpn.limits import TASK_RESULT_BYTES_MAX
from p2pcpn.runtime.function import landing as module
from p2pcpn.runtime.function.landing import Berth, Landing, Pieces, Placed, pickled

RING = 1000
RING_AT = module._RING_AT


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANDING_BYTES", RING)
    monkeypatch.setattr(module, "_BEHIND_AT", RING_AT + RING)
    monkeypatch.setattr(module, "_WAIT_S", 0.002)


class Pair:
    def __init__(self) -> None:
        self.landing = Landing()
        self.berth = Berth(self.landing.descriptor)

    def put(self, *values: bytes | Pieces) -> list[Placed]:
        placed = []
        for at, value in enumerate(values):
            offset = self.berth.put(value, wait=False)
            assert offset is not None
            placed.append((at, offset, value.size_bytes if isinstance(value, Pieces) else len(value)))
        return placed

    def take(self, placed: list[Placed]) -> list[bytes]:
        return self.landing.take([b""] * len(placed), placed, self.berth.until)


@pytest.fixture
def pair() -> Iterator[Pair]:
    one = Pair()
    yield one
    one.landing.close()


def test_what_was_put_is_taken_beside_what_came_by_the_socket(pair: Pair) -> None:
    first, second = pair.put(b"a" * 10, b"b" * 20)
    values = pair.landing.take([b"inline", b"", b""], [(1, *first[1:]), (2, *second[1:])], pair.berth.until)
    assert values == [b"inline", b"a" * 10, b"b" * 20]


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_it_works_without_memory_files_too(monkeypatch: pytest.MonkeyPatch, has_memory_files: bool) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    pair = Pair()
    assert pair.take(pair.put(b"value")) == [b"value"]
    assert pair.take(pair.put(b"L" * 9 * RING)) == [b"L" * 9 * RING]
    assert has_memory_files or os.fstat(pair.landing.descriptor).st_size == RING_AT + RING
    pair.landing.close()


def test_a_full_ring_waits_until_something_was_taken(pair: Pair) -> None:
    first, second = pair.put(b"a" * 500), pair.put(b"b" * 400)
    assert pair.berth.put(b"c" * 200, wait=True) is None
    assert pair.take(first) == [b"a" * 500]
    third = pair.put(b"c" * 200)
    assert third[0][1] == RING_AT and pair.take(second) + pair.take(third) == [b"b" * 400, b"c" * 200]


def test_one_larger_result_has_room_behind_the_ring_and_gives_the_memory_back(pair: Pair) -> None:
    large = b"L" * 50 * RING
    placed = pair.put(large)
    assert pair.berth.put(b"M" * RING, wait=False) is None
    small = pair.put(b"small")
    assert os.fstat(pair.landing.descriptor).st_blocks * 512 >= 50 * RING
    assert pair.take(placed) == [large] and pair.take(small) == [b"small"]
    assert os.fstat(pair.landing.descriptor).st_blocks * 512 < 5 * 4096
    assert pair.take(pair.put(b"M" * RING)) == [b"M" * RING], "one that ends with the page that the ring is in"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1500), st.booleans()), max_size=60))
def test_however_it_is_used_nothing_is_lost_or_mixed_up(steps: list[tuple[int, bool]]) -> None:
    pair = Pair()
    waiting: list[tuple[bytes, int, int, int]] = []
    for number, (size, take) in enumerate(steps):
        value = (number.to_bytes(2, "big") * size)[:size]
        offset = pair.berth.put(value, wait=False)
        if offset is not None:
            waiting.append((value, offset, size, pair.berth.until))
        if take and waiting:
            expected, at, length, until = waiting.pop(0)
            assert pair.landing.take([b""], [(0, at, length)], until) == [expected]
    for expected, at, length, until in waiting:
        assert pair.landing.take([b""], [(0, at, length)], until) == [expected]
    pair.landing.close()


@pytest.mark.parametrize(
    ("values", "placed"),
    [
        ([b"x"], [(0, RING_AT, 5)]),
        ([b""], [(1, RING_AT, 5)]),
        ([b""], [(-1, RING_AT, 5)]),
        ([b"", b""], [(0, RING_AT, 5), (0, RING_AT, 5)]),
        ([b"", b""], [(1, RING_AT, 5), (0, RING_AT, 5)]),
        ([b""], [(0, 0, 5)]),
        ([b""], [(0, -5, 5)]),
        ([b""], [(0, RING_AT, 0)]),
        ([b""], [(0, RING_AT, -1)]),
        ([b""], [(0, RING_AT + RING - 1, 2)]),
        ([b""], [(0, RING_AT + RING + 1, 2)]),
        ([b"", b""], [(0, RING_AT, 600), (1, RING_AT, 600)]),
        ([b"", b""], [(0, RING_AT + RING, 1), (1, RING_AT + RING, 1)]),
        ([b""], [(0, RING_AT + RING, TASK_RESULT_BYTES_MAX + 1)]),
        ([b""], [(0, RING_AT + RING, 1 << 80)]),
        ([b""], [(0, 1 << 80, 5)]),
    ],
)
def test_what_a_worker_says_of_it_that_cannot_be_is_an_error(
    pair: Pair, values: list[bytes], placed: list[Placed]
) -> None:
    pair.put(b"x" * 300, b"y" * 300)
    pair.berth.put(b"L" * 2 * RING, wait=False)
    with pytest.raises(PeerError):
        pair.landing.take(values, placed, 0)


def test_a_worker_cannot_shorten_the_ring_under_its_peer(pair: Pair) -> None:
    placed = pair.put(b"x" * 300)
    for size_bytes in (0, RING_AT):
        with pytest.raises(PermissionError):
            os.ftruncate(pair.landing.descriptor, size_bytes)
    assert pair.take(placed) == [b"x" * 300]


def test_what_was_taken_does_not_change_with_the_ring(pair: Pair) -> None:
    (taken,) = pair.take(pair.put(b"said"))
    os.pwrite(pair.landing.descriptor, b"lies", RING_AT)
    assert taken == b"said"


@pytest.mark.parametrize("placed", [[(0, RING_AT, 700)], [(0, RING_AT + RING, 9 * RING)]])
def test_a_file_that_the_worker_shortened_is_an_error_and_nothing_worse(
    placed: list[Placed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    pair = Pair()
    pair.put(b"x" * 700)
    pair.berth.put(b"L" * 9 * RING, wait=False)
    os.ftruncate(pair.landing.descriptor, RING_AT + 600)
    with pytest.raises(PeerError):
        pair.take(placed)
    pair.landing.close()


def test_a_result_behind_the_ring_that_is_not_there_is_an_error(pair: Pair) -> None:
    with pytest.raises(PeerError):
        pair.landing.take([b""], [(0, RING_AT + RING, 5)], 0)


def test_a_file_that_the_worker_has_made_unwritable_is_an_error_of_its_own(pair: Pair) -> None:
    os.ftruncate(pair.landing.descriptor, (1 << 63) - 1)
    flags = fcntl.fcntl(pair.landing.descriptor, fcntl.F_GETFL)
    fcntl.fcntl(pair.landing.descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    with pytest.raises(PeerError, match="cannot be used"):
        pair.landing.taken(1)


def test_where_the_system_has_no_memory_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))

    def refuse(*_: object) -> None:
        raise OSError(28, "no room")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(OSError, match="no room"):
        Landing()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_worker_that_says_it_put_more_than_can_be_harms_itself_alone(pair: Pair) -> None:
    pair.landing.taken(1 << 70)
    assert pair.berth.put(b"x", wait=False) is not None


def test_where_the_memory_is_full_the_socket_must_do(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(module, "write_all", refuse)
    assert pair.berth.put(b"x" * RING, wait=True) is None and pair.berth.until == 0


def test_a_pickle_in_pieces_lies_there_as_a_whole(pair: Pair) -> None:
    short, long = Pieces([b"a" * 10, b"", b"b" * 3]), Pieces([b"L" * RING, b"M" * RING])
    assert pair.take(pair.put(short, b"c", long)) == [b"a" * 10 + b"b" * 3, b"c", b"L" * RING + b"M" * RING]


def test_large_bytes_stand_in_their_pickle_themselves_and_what_may_change_does_not() -> None:
    large, changing = bytes(70_000), bytearray(80_000)
    found = pickled({"large": large, "changing": changing, "small": b"s"})
    assert isinstance(found, Pieces) and found.size_bytes == sum(map(len, found)) > 150_000
    assert any(piece is large for piece in found) and all(type(piece) is bytes for piece in found)
    assert pickle.loads(b"".join(found)) == {"large": large, "changing": changing, "small": b"s"}
    assert pickled([1, "two", b"three"]) == pickle.dumps([1, "two", b"three"], 5)
    with pytest.raises(TypeError):
        pickled(threading.Lock())
