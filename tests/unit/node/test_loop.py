"""Which event loop: the quick one where it is installed, the standard one where it is not."""

from __future__ import annotations

import asyncio
import sys

import pytest

from p2pcpn.node.loop import new_loop


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_the_new_loop_runs_coroutines() -> None:
    loop = new_loop()
    try:
        assert loop.run_until_complete(answer()) == 42
    finally:
        loop.close()


def test_without_uvloop_the_standard_loop_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop()
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
        assert loop.run_until_complete(answer()) == 42
    finally:
        loop.close()
