"""Memory beside a session: a ring is handed over once, to its user alone, and what is taken from it is a copy."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.limits import RING_BYTES, RING_PART_BYTES, RING_PLACE_DATAGRAMS_MAX, RING_TOKEN_BYTES, RING_TOLD_BYTES
from p2pcpn.net import beside
from p2pcpn.net.beside import Giving, Place, Taking

pytestmark = pytest.mark.skipif(not beside.possible(), reason="this system has no sealed memory")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.fixture
def giving() -> Iterator[Giving]:
    ring = Giving()
    yield ring
    ring.close()


@pytest.fixture
def taking(giving: Giving) -> Iterator[Taking]:
    place = Place()
    assert giving.hand(place.name, place.token)
    ring = place.take()
    assert ring is not None
    yield ring
    ring.close()


def put(ring: Giving, data: bytes) -> int:
    assert ring.room(len(data))
    at, memory = ring.part(len(data))
    with memory:
        memory[:] = data
    return at


def send(place: Place, token: bytes, *handed: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(b"\0" + place.name)
        socket.send_fds(sock, [token], list(handed))


# --- what is handed over -------------------------------------------------------------------------------------------


def test_what_the_giver_puts_the_taker_copies(giving: Giving, taking: Taking) -> None:
    data = random.Random(1).randbytes(100_000)
    first, second = put(giving, data), put(giving, b"second")
    assert (taking.read(first, len(data)), taking.read(second, 6)) == (data, b"second")
    assert (taking.parts, taking.part_bytes, giving.parts) == (2, len(data) + 6, 2)


def test_what_was_taken_does_not_change_with_the_ring(giving: Giving, taking: Taking) -> None:
    at = put(giving, b"said")
    copy = taking.read(at, 4)
    giving._view[at : at + 4] = b"lies"
    assert copy == b"said"


def test_nobody_but_the_giver_can_write_what_is_shared_or_change_its_size(giving: Giving) -> None:
    descriptor = giving._descriptor
    assert descriptor is not None
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, 4096)
    for size in (0, RING_BYTES * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)


def test_the_taker_cannot_write_what_it_took(taking: Taking) -> None:
    with pytest.raises(TypeError):
        taking._view[0] = 1


def test_a_ring_is_handed_over_once(giving: Giving) -> None:
    place = Place()
    assert not giving.handed
    assert giving.hand(place.name, place.token)
    assert giving.handed
    assert not giving.hand(place.name, place.token)
    place.close()


def test_a_place_that_is_not_there_takes_nothing(giving: Giving) -> None:
    assert not giving.hand(b"p2pcpn-nowhere", b"\0" * RING_TOKEN_BYTES)
    assert not giving.hand(b"x" * 500, b"\0" * RING_TOKEN_BYTES)


def test_nothing_was_sent_to_a_place() -> None:
    assert Place().take() is None


# --- what hostile programs of the same machine send -----------------------------------------------------------------


def memory(size: int = RING_BYTES, seals: int = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    if seals:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


@pytest.mark.parametrize(
    "made",
    [
        lambda: memory(seals=0),
        lambda: memory(seals=fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW),
        lambda: memory(seals=fcntl.F_SEAL_GROW | 0x10),
        lambda: memory(RING_BYTES - 1),
        lambda: memory(RING_BYTES + 4096),
        lambda: memory(4096),
        pipe,
        lambda: os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC),
        lambda: os.open(__file__, os.O_RDONLY | os.O_CLOEXEC),
    ],
    ids=["unsealed", "writable", "can shrink", "short", "long", "tiny", "pipe", "device", "file"],
)
def test_what_is_no_ring_is_not_taken(made: Callable[[], int]) -> None:
    place, descriptor = Place(), made()
    try:
        send(place, place.token, descriptor)
        assert place.take() is None
    finally:
        os.close(descriptor)


def test_who_does_not_know_the_token_hands_over_nothing_and_does_not_shut_out_who_does(giving: Giving) -> None:
    place, descriptor = Place(), memory()
    send(place, secrets.token_bytes(RING_TOKEN_BYTES), descriptor)
    send(place, place.token + b"x", descriptor)
    send(place, place.token)
    send(place, b"", descriptor, descriptor, descriptor)
    send(place, place.token, descriptor, descriptor)
    os.close(descriptor)
    assert giving.hand(place.name, place.token)
    ring = place.take()
    assert ring is not None
    ring.close()


def test_a_flood_of_descriptors_is_closed_and_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "RING_PLACE_DATAGRAMS_MAX", 3)
    place, descriptor = Place(), memory()
    for _ in range(3):
        send(place, b"flood", descriptor)
    send(place, place.token, descriptor)
    os.close(descriptor)
    assert place.take() is None
    assert RING_PLACE_DATAGRAMS_MAX > 3


def test_a_full_place_costs_the_giver_nothing_but_its_ring(giving: Giving) -> None:
    place = Place()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(b"\0" + place.name)
        with pytest.raises(BlockingIOError):
            while True:
                sock.send(b"x")
        assert not giving.hand(place.name, place.token)
    place.close()


def test_memory_of_another_user_is_not_taken(giving: Giving, monkeypatch: pytest.MonkeyPatch) -> None:
    place, user = Place(), os.getuid()
    assert giving.hand(place.name, place.token)
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert place.take() is None


@pytest.mark.parametrize(
    ("at", "size"),
    [
        (0, 0),
        (0, RING_PART_BYTES + 1),
        (RING_BYTES - 3, 4),
        (RING_BYTES, 1),
        (-1, 1),
        (1 << 62, 1),
        ((1 << 63) - 1, RING_PART_BYTES),
    ],
)
def test_parts_outside_of_the_ring_are_not_taken(at: int, size: int, taking: Taking) -> None:
    with pytest.raises(PeerError):
        taking.read(at, size)


@pytest.mark.parametrize("error", [OSError("no memory"), ValueError("mmap length is greater than file size")])
def test_a_ring_that_cannot_be_mapped_is_not_taken(
    error: Exception, giving: Giving, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place()
    assert giving.hand(place.name, place.token)

    def refuses(*_: Any, **__: Any) -> mmap.mmap:
        raise error

    monkeypatch.setattr(mmap, "mmap", refuses)
    assert place.take() is None


# --- room ----------------------------------------------------------------------------------------------------------


def test_room_comes_back_in_order_as_parts_are_taken(giving: Giving) -> None:
    ats = [put(giving, bytes(RING_PART_BYTES)) for _ in range(4)]
    assert ats == [0, RING_PART_BYTES, 2 * RING_PART_BYTES, 3 * RING_PART_BYTES]
    assert not giving.room(1)
    giving.taken(1)
    assert put(giving, b"x") == 0
    assert not giving.room(RING_PART_BYTES)
    giving.taken(4)
    with pytest.raises(PeerError):
        giving.taken(1)


def test_parts_never_overlap_and_never_wait_for_ever_whatever_their_sizes() -> None:
    rng = random.Random(7)
    for _ in range(20):
        ring, out, untold = Giving(), list[tuple[int, int]](), 0
        told = 0
        for _ in range(400):
            size = rng.choice([1, 63, 64, 65, 40_000, 1 << 20, (1 << 20) + 16, RING_PART_BYTES])
            if not ring.room(size):
                told += len(out)
                assert sum(length for _, length in out) >= RING_TOLD_BYTES  # the taker tells by then, so it comes on
                ring.taken(len(out))
                out.clear()
            assert ring.room(size)
            at, memory = ring.part(size)
            memory.release()
            assert at + size <= RING_BYTES
            assert all(at + size <= other or other + length <= at for other, length in out)
            out.append((at, size))
        ring.close()
        assert told and not untold


def test_what_is_not_told_yet_leaves_room_for_the_largest_part() -> None:
    rng = random.Random(8)
    ring, untold = Giving(), 0
    for _ in range(3000):
        size = rng.choice([32 << 10, 33_333, 1 << 20, (1 << 20) + 16, RING_PART_BYTES])
        assert ring.room(size)
        ring.part(size)[1].release()
        untold += size
        if untold >= RING_TOLD_BYTES:
            ring.taken(len(ring._given))
            untold = 0
    ring.close()


# --- the system ----------------------------------------------------------------------------------------------------


def test_only_the_loopback_is_near() -> None:
    assert beside.near(("127.0.0.1", 1)) and beside.near(("127.8.0.1", 1)) and beside.near(("::1", 1))
    assert not any(beside.near((host, 1)) for host in ("10.0.0.1", "192.168.127.1", "fe80::1", "1270.example", ""))


def test_a_system_without_sealed_memory_shares_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert not beside.possible()


@pytest.mark.parametrize("name", ["ftruncate", "memfd_create"])
def test_memory_that_cannot_be_had_leaves_nothing_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(os, name, refuses)
    with pytest.raises(OSError):
        Giving()


def test_a_name_that_is_taken_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    monkeypatch.setattr(secrets, "token_hex", lambda count: place.name.removeprefix(b"p2pcpn-").decode())
    with pytest.raises(OSError):
        Place()
    place.close()


def test_a_kernel_without_huge_pages_shares_memory_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 12345, raising=False)  # no such advice
    ring = Giving()
    assert ring.room(RING_PART_BYTES)
    ring.close()
