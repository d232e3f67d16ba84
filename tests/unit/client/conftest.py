"""What the tests of the client share: a user's directories, a swarm of two peers for each test file that asks, and
peers on the loopback in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from p2pcpn.client.connection import Meeting
from p2pcpn.client.swarm import Swarm
from p2pcpn.config import Config
from p2pcpn.node.overlay import Overlay

SWARM_KEY = b"\5" * 32


def directories(home: Path) -> dict[str, str]:
    """The environment of a user whose directories lie below ``home``."""
    return {"HOME": str(home)} | {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE")}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has started nothing yet."""
    return directories(tmp_path)


@pytest.fixture(scope="module")
def pair() -> Iterator[Swarm]:
    """Two peers."""
    with Swarm(peers=2) as swarm:
        yield swarm


@pytest.fixture
def where(pair: Swarm) -> Meeting:
    """Where to meet them."""
    return Meeting(tuple(pair.bootstrap), pair.key, "the test")


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Callable[..., Awaitable[Overlay]]]:
    """Starts a peer: ``await peer(other, ..., roles=("storage",))``; without roles it is a client."""
    started: list[Overlay] = []

    async def start(*others: Overlay, roles: tuple[str, ...] = (), **settings: Any) -> Overlay:
        addresses = ["{}:{}".format(*other.address) for other in others]
        named = {"bootstrap": addresses, "swarm_key": SWARM_KEY, "profile": "local", "cpus": 1} | settings
        overlay = Overlay(Config(roles=roles, **named))
        started.append(overlay)
        await overlay.start()
        if others:
            await asyncio.wait_for(overlay.known.wait(), 10)
        return overlay

    yield start
    for overlay in reversed(started):
        await overlay.close()
