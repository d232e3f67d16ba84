"""Dice throw like the system's, from blocks, and never the same in two processes."""

from __future__ import annotations

import os
import statistics

import pytest

from p2pcpn.identity import dice as module
from p2pcpn.identity.dice import BLOCK_BYTES, Dice


def test_numbers_have_the_bits_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "urandom", lambda count: b"\xff" * count)
    dice = Dice()
    assert [dice.getrandbits(k) for k in (0, 1, 8, 63, 160)] == [0, 1, 255, (1 << 63) - 1, (1 << 160) - 1]
    assert dice.random() == 1 - 2.0**-53
    monkeypatch.setattr(module.os, "urandom", lambda count: b"\0" * count)
    dice.forget()
    assert dice.random() == dice.getrandbits(63) == 0
    with pytest.raises(ValueError, match="non-negative"):
        dice.getrandbits(-1)


def test_nothing_is_thrown_twice_however_much_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter(range(1, 1000))
    monkeypatch.setattr(module.os, "urandom", lambda count: b"".join(b"%5d," % next(counts) for _ in range(count // 6)))
    monkeypatch.setattr(module, "BLOCK_BYTES", 24)
    dice = Dice()
    taken = [dice.randbytes(6) for _ in range(9)] + [dice.randbytes(60)] + [dice.randbytes(6)]
    assert len(set(taken)) == len(taken)
    assert all(len(word) == 6 for word in taken[:9]) and len(taken[9]) == 60


def test_throws_are_even() -> None:
    dice = Dice()
    throws = [dice.random() for _ in range(20_000)]
    assert abs(statistics.fmean(throws) - 0.5) < 0.02 and min(throws) >= 0 and max(throws) < 1
    assert {dice.randrange(6) for _ in range(1000)} == set(range(6))
    assert len({dice.getrandbits(63) for _ in range(2 * BLOCK_BYTES)}) == 2 * BLOCK_BYTES


def test_a_fork_does_not_throw_what_its_parent_throws() -> None:
    dice = Dice()
    dice.getrandbits(8)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, dice.randbytes(16))
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 16) != dice.randbytes(16)
    os.close(reading)
    os.close(writing)


def test_after_a_fork_all_dice_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = Dice()
    dice.getrandbits(8)
    module._forget_all()
    monkeypatch.setattr(module.os, "urandom", lambda count: b"\x07" * count)
    assert dice.getrandbits(8) == 7
