"""What tests of the node share: peers on the loopback that are closed at the end, and a session without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from p2pcpn.config import Config
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.session import Remote
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire import messages as m

SWARM_KEY = b"\7" * 32


class Unwired:
    """A session without a network: what is sent over it can be read, and how much it takes is the test's to say."""

    def __init__(self, peer: Keypair, *, dialed: bool = False, boot: int = 1, takes: int | None = None) -> None:
        address = ("127.0.0.1", 4000)
        self.remote = Remote(peer.id, peer.public, 1, boot, 0, 0, address, address)
        self.dialed = dialed
        self.takes = takes  # messages, until it is writable no more; None: all
        self.sent: list[Any] = []
        self.urgent: list[bool] = []  # of each that was sent
        self.why: str | None = None
        self.held_bytes = 0
        self.dies_sending = False

    @property
    def ended(self) -> bool:
        return self.why is not None

    @property
    def writable(self) -> bool:
        return not self.ended and (self.takes is None or len(self.sent) < self.takes)

    def send(self, data: bytes, *, urgent: bool = True) -> None:
        self.sent.append(m.CODEC.decode(data))
        self.urgent.append(urgent)
        if self.dies_sending:
            self.why = "unread"

    def hasten(self) -> None:
        """What was sent is gone already."""

    def hold(self, count: int) -> None:
        self.held_bytes += count

    def release(self, count: int) -> None:
        self.held_bytes -= count
        assert self.held_bytes >= 0

    def close(self, why: str) -> None:
        self.why = self.why or why

    abort = close


@pytest.fixture
def unwired() -> type[Unwired]:
    return Unwired


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Callable[..., Awaitable[Overlay]]]:
    """Starts a peer of one swarm: ``await peer(other, ..., roles=("storage",))``; the others are its bootstrap."""
    started: list[Overlay] = []

    async def start(*others: Overlay, **settings: Any) -> Overlay:
        named = {key: settings.pop(key) for key in ("keypair", "faults") if key in settings}
        settings = {"roles": ("storage",), "cpus": 1, "swarm_key": SWARM_KEY, "profile": "local"} | settings
        addresses = ["{}:{}".format(*other.address) for other in others]
        overlay = Overlay(Config(bootstrap=addresses, **settings), **named)
        started.append(overlay)
        await overlay.start()
        if others:
            await asyncio.wait_for(overlay.known.wait(), 10)
        return overlay

    yield start
    for overlay in reversed(started):
        await overlay.close()
