"""A program with some of the peers under test: it starts them, and does through them what it is asked over a socket.

Each connection carries one request at a time, so that every thread of the benchmark has one of its own and waits for
nobody else. The program ends with its standard input, which ends with whoever started it, however that comes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import msgspec

from p2pcpn.bench.dhts.overlay import Peers
from p2pcpn.client.loops import LoopThread
from p2pcpn.identity.keys import Keypair

SIZE_BYTES: Final = 4
FRAME_BYTES_MAX: Final = 1 << 20


def frame(value: Any) -> bytes:
    """What goes over the socket: four bytes of length, and MessagePack."""
    data = msgspec.msgpack.encode(value)
    return len(data).to_bytes(SIZE_BYTES, "big") + data


class Program:
    """Obeys requests ``[verb, *words]``; each is answered by ``[result, error]``."""

    def __init__(self) -> None:
        self._peers: Peers | None = None
        self._verbs: dict[str, Callable[..., Awaitable[Any]]] = {"start": self._start}

    async def obey(self, verb: str, *words: Any) -> Any:
        """Do one thing."""
        return await self._verbs[verb](*words)

    async def _start(self, swarm_key: str, seed: bytes, count: int, known: list[str]) -> list[str]:
        peers = self._peers = Peers(swarm_key, Keypair(seed))
        self._verbs |= {"meet": peers.meet, "store": peers.store, "get": peers.get}
        return await peers.start(count, known)

    async def close(self) -> None:
        """End the peers."""
        if self._peers is not None:
            await self._peers.close()


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._read = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        size = int.from_bytes(self._read[:SIZE_BYTES], "big")
        assert size <= FRAME_BYTES_MAX, "requests are short"
        if len(self._read) >= SIZE_BYTES + size > SIZE_BYTES:
            words = msgspec.msgpack.decode(self._read[SIZE_BYTES:])
            self._read.clear()
            self._task = asyncio.get_running_loop().create_task(self._answer(words))

    async def _answer(self, words: list[Any]) -> None:
        try:
            answer = [await self._program.obey(*words), None]
        except Exception as error:  # whoever asked is told
            answer = [None, f"{type(error).__name__}: {error}"]
        self._transport.write(frame(answer))


async def serve(listener: socket.socket, starter: int) -> None:
    """Obey whoever connects to ``listener`` until the pipe ``starter`` ends."""
    program, loop, ended = Program(), asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_unix_server(lambda: _Line(program), sock=listener)
    loop.add_reader(starter, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(starter)
        server.close()
        await program.close()


def main(arguments: list[str]) -> None:
    """``DESCRIPTOR``: of a listening Unix socket."""
    loops = LoopThread("p2pcpn-bench")
    try:
        loops.call(serve(socket.socket(fileno=int(arguments[0])), sys.stdin.fileno()))
    finally:
        loops.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
