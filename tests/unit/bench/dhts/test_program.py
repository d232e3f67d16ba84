"""A program with peers does what connections ask of it, and ends with the one that started them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from p2pcpn.bench.dhts import program
from p2pcpn.bench.dhts.program import SIZE_BYTES, frame, main, serve


class Kept:
    """Peers that keep what they are given in one dictionary."""

    closed = 0

    def __init__(self, swarm_key: str, owner: Any) -> None:
        self.kept: dict[str, bytes] = {}

    async def start(self, peers: int, known: Sequence[str]) -> list[str]:
        return [f"{number} knows {list(known)}" for number in range(peers)]

    async def meet(self) -> None:
        pass

    async def store(self, peer: int, key: str, value: bytes) -> bool:
        self.kept[key] = value
        return True

    async def get(self, peer: int, key: str) -> bytes | None:
        if peer > 7:
            raise LookupError(f"no peer {peer}")
        return self.kept.get(key)

    async def close(self) -> None:
        Kept.closed += 1


def listening(folder: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    listener.listen(4)
    return listener


class Line:
    """One connection to the program."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams

    async def ask(self, *words: Any) -> Any:
        data = frame(words)
        self.writer.write(data[:3])  # however it is cut
        await self.writer.drain()
        await asyncio.sleep(0)
        self.writer.write(data[3:])
        size = int.from_bytes(await self.reader.readexactly(SIZE_BYTES), "big")
        return msgspec.msgpack.decode(await self.reader.readexactly(size))


@pytest.mark.asyncio
async def test_each_connection_is_answered_until_whoever_started_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(program, "Peers", Kept)
    Kept.closed = 0
    listener = listening(tmp_path)
    reading, writing = os.pipe()
    async with asyncio.timeout(10.0):
        serving = asyncio.ensure_future(serve(listener, reading))
        first, other = [Line(await asyncio.open_unix_connection(str(tmp_path / "s"))) for _ in range(2)]
        assert (await other.ask("get", 0, "key"))[1] == "KeyError: 'get'"
        assert await first.ask("start", "key", os.urandom(32), 2, ["there"]) == [
            ["0 knows ['there']", "1 knows ['there']"], None,
        ]  # fmt: skip
        assert await first.ask("meet") == [None, None]
        assert await other.ask("store", 0, "key", b"value") == [True, None]
        assert await first.ask("get", 1, "key") == [b"value", None]
        assert await other.ask("get", 8, "key") == [None, "LookupError: no peer 8"]
        first.writer.close()
        assert await other.ask("get", 1, "other") == [None, None]
        os.close(writing)
        await serving
        for line in (first, other):
            line.writer.close()
            await line.writer.wait_closed()
    os.close(reading)
    assert Kept.closed == 1


def test_a_program_is_told_its_socket_by_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []

    async def stand_in(listener: socket.socket, starter: int) -> None:
        with listener:
            seen.append(listener.getsockname())

    monkeypatch.setattr(program, "serve", stand_in)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: 0))
    main([str(listening(tmp_path).detach())])
    assert seen == [str(tmp_path / "s")]


@pytest.mark.asyncio
async def test_a_program_that_was_never_told_to_start_closes_without_peers() -> None:
    await program.Program().close()
