"""A peer that gives blobs, honestly or not, to whoever asks: ``beside_program.py WAY``.

It says its address and id in a line, and lives until its standard input ends. Blob N is ``blob(N)``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import socket
import sys
from typing import Any

from p2pcpn import limits
from p2pcpn.config import Config
from p2pcpn.net import beside
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.sealing import digest

KEY = "33" * 32
BLOBS = 8
BLOB_BYTES = (1 << 20) + 16
JOB = b"\1" * 20


def blob(number: int) -> bytes:
    return random.Random(number).randbytes(BLOB_BYTES)


def lies(ring: beside.Giving, size: int) -> tuple[int, memoryview]:
    """A part whose last byte is another one by the time that it is looked at."""
    at, memory = REAL_PART(ring, size)
    return at, Liar(memory)  # type: ignore[return-value]


class Liar:
    """Memory that is changed after it was filled."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def __enter__(self) -> Liar:
        return self

    def __setitem__(self, at: slice, data: Any) -> None:
        self.memory[at] = data

    def __exit__(self, *_: object) -> None:
        self.memory[-1] ^= 1
        self.memory.release()


def hand(ring: beside.Giving, place: bytes, token: bytes) -> bool:
    """Hand something else over instead."""
    handed = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(b"\0" + place)
        if WAY == "flood":
            try:
                while True:
                    socket.send_fds(sock, [os.urandom(limits.RING_TOKEN_BYTES)], [handed] * 100)
            except BlockingIOError:
                pass
        else:
            os.ftruncate(handed, limits.RING_BYTES if WAY == "unsealed" else 4096)
            if WAY == "short":
                fcntl.fcntl(handed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10)
            socket.send_fds(sock, [token], [handed])
    os.close(handed)
    ring.accepted = True  # as if nothing were the matter
    ring._let_go()
    return True


REAL_PART = beside.Giving.part
WAY = sys.argv[1] if __name__ == "__main__" else "honest"
if WAY == "impossible":
    beside.possible = lambda: False
elif WAY == "lies":
    beside.Giving.part = lies  # type: ignore[method-assign]
elif WAY in ("unsealed", "short", "flood"):
    beside.Giving.hand = hand  # type: ignore[method-assign]


async def main() -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    config = Config(listen="127.0.0.1:0", swarm_key=KEY, roles=["storage"], cpus=1, durable=False)
    async with Overlay(config) as overlay:
        for number in range(BLOBS):
            overlay.shelf.put(digest(blob(number)), blob(number), JOB, 600.0)
        print("{}:{}".format(*overlay.address), overlay.id.hex(), flush=True)
        await lines.read()


if __name__ == "__main__":
    asyncio.run(main())
