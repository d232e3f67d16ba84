"""Who submits more than there is room for waits, goes on when a quarter is free, and is never left waiting."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from p2pcpn.client import room as rooms
from p2pcpn.client.cutting import Blob, Parted
from p2pcpn.client.room import Room
from p2pcpn.wire.statements import BlobRef

WAIT_S = 10.0


def made(bytes_max: int = 100, exempt: bool = False, look: Callable[[], None] = lambda: None) -> Room:
    return Room(threading.RLock(), bytes_max, lambda: exempt, look)


def waiting(room: Room) -> tuple[threading.Thread, threading.Event, threading.Event]:
    """A thread that waits for room: it, whether it is about to, and whether it goes on."""
    began, on = threading.Event(), threading.Event()

    def wait() -> None:
        with room._freed:
            began.set()
            room.wait()
        on.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert began.wait(WAIT_S)
    with room._freed:  # by now it waits, or has gone on
        pass
    return thread, began, on


def test_nobody_waits_where_there_is_room() -> None:
    room = made()
    room.take(99)
    room.wait()
    assert not room.full
    room.take(1)
    assert room.full


def test_who_waits_goes_on_when_a_quarter_is_free() -> None:
    room = made()
    room.take(120)
    thread, _, on = waiting(room)
    room.give_back(44)
    assert not on.is_set() and room._waiting == 1 and room.awaited
    room.give_back(1)
    assert on.wait(WAIT_S)
    thread.join()
    assert room.used_bytes == 75 and room._waiting == 0 and not room.awaited


def test_who_waits_is_woken_when_it_is_shut() -> None:
    room = made()
    room.take(500)
    thread, _, on = waiting(room)
    room.shut()
    assert on.wait(WAIT_S)
    thread.join()
    room.wait()


def test_the_thread_that_makes_room_never_waits() -> None:
    room = made(exempt=True)
    room.take(1000)
    room.wait()


def test_when_nothing_ends_it_is_looked_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "LOOK_S", 0.001)
    looked: list[int] = []

    def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            raise RuntimeError("it never will")

    room = made(look=look)
    room.take(100)
    with pytest.raises(RuntimeError, match="never"), room._freed:
        room.wait()
    assert len(looked) == 3 and room._waiting == 0


def test_an_interrupt_ends_the_wait() -> None:
    room = made()
    room.take(100)

    def interrupt() -> None:
        while not room._waiting:
            threading.Event().wait(0.001)
        with room._freed:  # by now it waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), room._freed:
        room.wait()
    thread.join()
    assert room._waiting == 0


def blob(number: int, size: int) -> Blob:
    return Blob(BlobRef(number.to_bytes(32, "big"), size, b""), b"")


def test_what_calls_share_is_counted_once() -> None:
    room = made()
    shared = blob(1, 1000)
    assert room.size_of(b"12345") == 5
    assert room.size_of(blob(2, 70)) == 70
    assert room.size_of(Parted(b"123", (shared, blob(3, 50)))) == 1053
    assert room.size_of(Parted(b"123", (shared,))) == 3
    for number in range(rooms.SHARED_MAX):
        room.size_of(blob(100 + number, 1))
    assert room.size_of(shared) == 1000 and len(room._shared) == rooms.SHARED_MAX
