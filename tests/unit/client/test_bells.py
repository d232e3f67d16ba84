"""A bell wakes its thread at once, never another's, and never a child's of the process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from p2pcpn.client import bells
from p2pcpn.client.bells import Bell, own_bell

WAIT_S = 10.0

pytestmark = pytest.mark.skipif(not hasattr(os, "eventfd"), reason="the system has no eventfd")


def test_a_ring_before_the_sleep_lets_nobody_fall_asleep_and_counts_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(None)
    assert not bell.wait(time.monotonic() + 0.001)


def test_a_ring_from_another_thread_wakes() -> None:
    bell = Bell()
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert bell.wait(time.monotonic() + WAIT_S)
    thread.join(WAIT_S)


def test_a_signal_whose_handler_raises_nothing_is_no_error_of_whoever_sleeps() -> None:
    rung, bell = threading.Event(), Bell()

    def handle(*_: object) -> None:
        rung.set()

    before = signal.signal(signal.SIGALRM, handle)
    late = threading.Timer(WAIT_S, bell.ring)  # a guard: no test sleeps for ever
    late.start()
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        while not rung.is_set():
            assert bell.wait(None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        late.cancel()


def test_a_wait_within_a_wait_takes_no_ring_from_it() -> None:
    bell = Bell()
    bell._asleep = 1  # the thread is in a wait, and a signal's handler waits, too
    bell.ring()
    assert bell.wait(None)
    assert bell.wait(time.monotonic() + WAIT_S)


def test_a_long_wait_is_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "_POLL_S_MAX", 0.001)
    assert Bell().wait(time.monotonic() + 1e12)  # not over: whoever waits looks why it woke


def test_each_thread_has_one_bell_and_its_descriptor_goes_with_the_last_who_knows_it() -> None:
    mine = own_bell()
    assert mine is not None and own_bell() is mine
    found: list[tuple[bool, int]] = []

    def other() -> None:
        own = own_bell()
        assert own is not None
        found.append((own is mine, own._descriptor))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(WAIT_S)
    assert found[0][0] is False
    with pytest.raises(OSError):
        os.fstat(found[0][1])


def test_a_child_of_the_process_has_bells_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "_own", bells._own)  # put back at the end
    mine = own_bell()
    bells._forked()
    assert own_bell() is not mine


def test_where_the_system_has_no_descriptor_left_there_is_no_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: int) -> int:
        raise OSError("too many open files")

    monkeypatch.setattr(bells, "_own", bells._Own())
    monkeypatch.setattr("os.eventfd", none_left)
    assert own_bell() is None
    monkeypatch.delattr("os.eventfd")
    assert own_bell() is None
