"""Meeting the swarm: names are resolved, peers are remembered, and who waits for them in vain is told where."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.errors import Unreachable
from p2pcpn.node.meeting import (
    ADDRESSES_PER_NAME_MAX,
    RESTORED_CONTACTS_MAX,
    SAVED_CONTACTS_MAX,
    known_within,
    named_contacts,
    save_contacts,
    saved_contacts,
)
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.store.database import Database
from p2pcpn.wire.addresses import contact


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


def known(count: int) -> list[Any]:
    return [contact(number.to_bytes(20, "big"), ("192.0.2.7", 4000 + number)) for number in range(count)]


@pytest.mark.asyncio
async def test_numeric_addresses_are_whoever_listens_there() -> None:
    found = await named_contacts(["127.0.0.1:4001", "[::1]:4002"])
    assert [(each.id, each.address) for each in found] == [
        (ANYBODY, ("127.0.0.1", 4001)),
        (ANYBODY, ("::1", 4002)),
    ]
    assert await named_contacts([]) == []


@pytest.mark.asyncio
async def test_a_name_that_cannot_be_resolved_is_logged_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(0, 0, 0, "", (f"192.0.2.{number}", port)) for number in range(1, 6)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    with caplog.at_level(logging.WARNING):
        found = await named_contacts(["nowhere.invalid:4000", "many.example:4001"])
    assert [each.address for each in found] == [("192.0.2.1", 4001), ("192.0.2.2", 4001)]
    assert len(found) == ADDRESSES_PER_NAME_MAX
    assert "nowhere.invalid:4000 cannot be resolved: no such name" in caplog.text


def test_peers_are_remembered_and_whoever_listens_there_now_is_asked(database: Database) -> None:
    save_contacts(database, known(2))
    database.close()  # what was committed is on disk then
    again = Database(database.path, durable=False)
    try:
        found = saved_contacts(again)
    finally:
        again.close()
    assert {each.address for each in found} == {("192.0.2.7", 4000), ("192.0.2.7", 4001)}
    assert {each.id for each in found} == {ANYBODY}  # it may have another key by then


def test_nothing_is_written_where_nobody_is_known(database: Database) -> None:
    save_contacts(database, [])
    assert database.statistics().commits == 0


def test_only_so_many_peers_are_remembered(database: Database) -> None:
    save_contacts(database, known(SAVED_CONTACTS_MAX + 5))
    database.drop_expired(0.0)  # waits for what was queued before
    assert database.count("peers") == SAVED_CONTACTS_MAX


def test_those_seen_last_come_first_and_only_so_many(database: Database) -> None:
    peers = known(RESTORED_CONTACTS_MAX + 6)
    database.commit([Write("peers", (c.id,), (c.host, c.port, float(n))) for n, c in enumerate(peers)])
    database.drop_expired(0.0)
    found = saved_contacts(database)
    assert [each.port for each in found] == [c.port for c in reversed(peers)][:RESTORED_CONTACTS_MAX]


@pytest.mark.asyncio
async def test_who_knows_a_peer_already_does_not_wait() -> None:
    event = asyncio.Event()
    event.set()
    await asyncio.wait_for(known_within(event, [], 60.0), 5)


@pytest.mark.asyncio
async def test_waiting_in_vain_names_the_addresses_that_were_tried() -> None:
    with pytest.raises(Unreachable, match=r"no peer answered at 192\.0\.2\.7:4000, name:1 within 0 s"):
        await known_within(asyncio.Event(), ["192.0.2.7:4000", "name:1"], 0.0)
    with pytest.raises(Unreachable, match="no peer came within 0 s, and there is no address to ask at"):
        await known_within(asyncio.Event(), [], 0.0)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("addresses", "advice"),
    [
        (["127.0.0.1:4000", "127.0.0.1:4001"], r"this machine's loopback interface is down \(ip link set lo up\)"),
        (["127.0.0.1:4000", "[2001:db8::7]:4000"], "no network of this machine that is up leads there"),
        (["127.0.0.1:4000", "name:4000"], "check the address and the swarm key"),
    ],
)
async def test_where_no_way_leads_to_any_of_them_that_is_said(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], advice: str
) -> None:
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.ENETUNREACH)
    with pytest.raises(Unreachable, match=f"within 0 s; {advice}$"):
        await known_within(asyncio.Event(), addresses, 0.0)


@pytest.mark.asyncio
async def test_where_nobody_listens_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.node.meeting.REFUSED_S", 0.1)
    monkeypatch.setattr("p2pcpn.node.meeting.REFUSED_LOOK_S", 0.01)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"  # bound, and nobody listens
        with pytest.raises(Unreachable, match=f"nobody listens at {address}"):
            await asyncio.wait_for(known_within(asyncio.Event(), [address], 60.0), 10)
        closed.listen()
        with pytest.raises(Unreachable, match=r"within 0\.3 s"):  # somebody does, and says nothing
            await known_within(asyncio.Event(), [address], 0.3)


@pytest.mark.asyncio
async def test_a_peer_that_starts_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.node.meeting.REFUSED_S", 5.0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, event.set)
        await asyncio.wait_for(known_within(event, [f"127.0.0.1:{closed.getsockname()[1]}"], 60.0), 10)


def test_a_row_that_is_damaged_is_left_out(database: Database) -> None:
    rows = [
        (b"\1" * 4, 4000, 1.0),
        (b"\1" * 3, 4000, 1.0),
        ("text", 1, 1.0),
        (b"\1" * 4, None, 1.0),
        (b"\1" * 4, 7, "x"),
    ]
    database.commit([Write("peers", (bytes([n]),), row) for n, row in enumerate(rows)])  # type: ignore[arg-type]
    database.drop_expired(0.0)  # waits for what was queued before
    assert [each.port for each in saved_contacts(database)] == [4000]
