"""What the tests of the client share: a user's directories, and a swarm of two peers for each test file that asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcpn.client.connection import Meeting
from p2pcpn.client.swarm import Swarm


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
