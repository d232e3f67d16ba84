"""Scratch memory: what is opened is right, for its block alone, and the memory serves the next."""

from __future__ import annotations

import threading

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.node import scratch
from p2pcpn.node.scratch import SCRATCH_BYTES, opened
from p2pcpn.wire.sealing import seal

KEY = b"\1" * 32


@pytest.fixture(autouse=True)
def nothing_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_spare", [])


def test_what_was_closed_is_opened_whatever_its_size() -> None:
    for data in (b"", b"abc", bytes(range(256)) * 999, b"x" * SCRATCH_BYTES, b"y" * (SCRATCH_BYTES + 1)):
        with opened(KEY, seal(KEY, 0, data)) as plain:
            assert plain == data
    assert [len(memory) for memory in scratch._spare] == [SCRATCH_BYTES]  # what was larger is gone


def test_memory_serves_the_next_and_a_block_within_a_block_has_its_own() -> None:
    with opened(KEY, seal(KEY, 0, b"first")) as first:
        memory = id(first.obj)
        with opened(KEY, seal(KEY, 0, b"inner")) as inner:
            assert (bytes(first), bytes(inner)) == (b"first", b"inner")
    with opened(KEY, seal(KEY, 0, b"next")) as later, opened(KEY, seal(KEY, 0, b"other")) as other:
        assert memory in {id(later.obj), id(other.obj)}


@pytest.mark.parametrize("sealed", [b"", b"short", seal(KEY, 0, b"abc")[:-1], seal(b"\2" * 32, 0, b"abc")])
def test_what_does_not_open_raises(sealed: bytes) -> None:
    with pytest.raises(PeerError), opened(KEY, sealed):
        pass


def test_memory_that_somebody_still_looks_at_is_not_used_again() -> None:
    with opened(KEY, seal(KEY, 0, b"abc")) as plain:
        kept = memoryview(plain)
    assert scratch._spare == []
    with opened(KEY, seal(KEY, 0, b"xyz")):
        assert kept == b"abc"


def test_threads_do_not_share_memory() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        data = bytes([number]) * 100_000
        closed = seal(KEY, 0, data)
        for _ in range(20):
            with opened(KEY, closed) as plain:
                if plain != data:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(scratch._spare) <= 2
