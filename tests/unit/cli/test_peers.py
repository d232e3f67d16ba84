"""``p2pcpn peers``: a row for each peer that was heard of, from a real swarm and from made-up adverts."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn.cli.peers import COLUMNS, _row
from p2pcpn.client.capacity import adverts
from p2pcpn.client.connection import Meeting
from p2pcpn.client.swarm import Swarm

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=2, tags=["lab"]) as swarm:
        where = Meeting((swarm.bootstrap[0],), swarm.key, "the test")
        # The first of them has to have heard of the second: what is listed is what the peer that is asked knows.
        assert any(len(asyncio.run(adverts(where, os.environ, 1.0))) == 2 for _ in range(10))
        yield swarm


@pytest.fixture
def named(swarm: Swarm) -> list[str]:
    """The options that name the swarm."""
    return ["--bootstrap", swarm.bootstrap[0], "--swarm-key", swarm.key]


def _peer(**other: Any) -> dict[str, Any]:
    return {
        "id": "ab" * 20, "address": "192.0.2.1:4000", "cores": 8, "slots": 4, "slots_free": 3, "load": 0.256,
        "memory_free_bytes": 3 << 30, "python": "3.12", "runtimes": ["function"], "rtt_ms": 1.25, "accelerators": [],
        "tags": [], "packages": [], "roles": ["compute", "storage"], "draining": False,
    } | other  # fmt: skip


def test_every_peer_is_listed_with_what_it_can_do(p2pcpn: Command, swarm: Swarm, named: list[str]) -> None:
    ended = p2pcpn("peers", *named)
    assert ended.code == 0 and ended.err == "2 peers, 2 free slots\n"
    assert tuple(ended.lines[0].split()) == COLUMNS
    rows = {line.split()[0]: line for line in ended.lines[1:]}
    assert set(rows) == {peer.id[:8] for peer in swarm.peers}
    for peer in swarm.peers:
        assert peer.address in rows[peer.id[:8]] and "lab" in rows[peer.id[:8]] and "1/1" in rows[peer.id[:8]]


def test_programs_get_the_same_as_one_document(p2pcpn: Command, swarm: Swarm, named: list[str]) -> None:
    ended = p2pcpn("peers", *named, "--json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert {peer["id"] for peer in found} == {peer.id for peer in swarm.peers}
    assert all(peer["tags"] == ["lab"] and peer["roles"] == ["compute", "storage"] for peer in found)


def test_the_environment_may_name_the_swarm(p2pcpn: Command, swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PCPN_BOOTSTRAP", swarm.bootstrap[1])
    monkeypatch.setenv("P2PCPN_SWARM_KEY", swarm.key)
    assert len(json.loads(p2pcpn("peers", "--json").out)) == 2


def test_no_peer_anywhere_is_unreachable(p2pcpn: Command) -> None:
    ended = p2pcpn("peers")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("p2pcpn: there is no peer to talk to") and ended.err.count("\n") == 1


def test_what_is_no_address_key_or_time_is_usage(p2pcpn: Command, named: list[str]) -> None:
    for words in (["--bootstrap", "nowhere"], [*named[:2], "--swarm-key", "short"], [*named, "--wait", "long"]):
        ended = p2pcpn("peers", *words)
        assert (ended.code, ended.out) == (2, "") and ended.err.count("\n") == 1


def test_a_row_shows_numbers_for_people() -> None:
    assert dict(zip(COLUMNS, _row(_peer()), strict=True)) == {
        "id": "abababab", "address": "192.0.2.1:4000", "cores": 8, "free": "3/4", "load": "26%", "memory": "3.0 GiB",
        "python": "3.12", "runs": "function", "rtt": "1.2 ms", "more": "",
    }  # fmt: skip


def test_what_else_a_peer_has_stands_behind() -> None:
    gpu = {"count": 2, "kind": "cuda", "memory_bytes": 16 << 30}
    row = _row(
        _peer(rtt_ms=None, roles=["storage"], draining=True, accelerators=[gpu], tags=["lab"], packages=["numpy"])
    )
    assert row[-2:] == ("", "no compute draining 2x cuda 16 GiB lab numpy")
