"""Meeting the swarm: addresses to ask at the start, and the peers that are remembered for the next one."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import time
from collections.abc import Sequence

from p2pcpn.errors import Unreachable
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.store.database import Database
from p2pcpn.wire.addresses import Contact, contact, parse_address

log = logging.getLogger("p2pcpn.node")

RESTORED_CONTACTS_MAX = 64
SAVED_CONTACTS_MAX = 256
# Of the addresses that a name resolves to.
ADDRESSES_PER_NAME_MAX = 2
# A peer that was started a moment ago by the same script is up by then.
REFUSED_S = 2.0
REFUSED_LOOK_S = 0.25


async def named_contacts(addresses: Sequence[str]) -> list[Contact]:
    """Whoever listens at these addresses, all names resolved at once. A name that cannot be is logged and left out."""
    loop = asyncio.get_running_loop()

    async def resolved(text: str) -> list[Contact]:
        host, port = parse_address(text)
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            log.warning("bootstrap %s cannot be resolved: %s", text, error.strerror or error)
            return []
        return [contact(ANYBODY, (str(info[4][0]), port)) for info in found[:ADDRESSES_PER_NAME_MAX]]

    return [each for found in await asyncio.gather(*map(resolved, addresses)) for each in found]


def saved_contacts(database: Database) -> list[Contact]:
    """Peers that were known before this node was restarted, the last seen first."""
    seen: list[tuple[float, Contact]] = []
    for _, (packed, port, seen_s) in database.scan("peers"):
        if isinstance(packed, bytes) and isinstance(port, int) and isinstance(seen_s, float):
            at = Contact(ANYBODY, packed, port)
            if port < 1 << 16 and at.usable:  # else the row is damaged; it is replaced when that peer is met again
                seen.append((seen_s, at))
    seen.sort(key=lambda row: (-row[0], row[1].host, row[1].port))
    return [contact for _, contact in seen[:RESTORED_CONTACTS_MAX]]


def save_contacts(database: Database, contacts: Sequence[Contact]) -> None:
    """Remember these peers, soon. A disk that refuses is no reason to stop: the swarm is met again without them."""
    now = time.time()
    writes = tuple(Write("peers", (c.id,), (c.host, c.port, now)) for c in contacts[:SAVED_CONTACTS_MAX])
    if writes:
        database.commit(writes)


async def known_within(known: asyncio.Event, addresses: Sequence[str], wait_s: float) -> None:
    """Wait until some peer is known. Raises :class:`Unreachable` naming the addresses tried.

    Where each of them says that nobody listens there, and goes on saying so for ``REFUSED_S`` (it may just be
    starting), there is nothing to wait for.
    """
    waiting = asyncio.ensure_future(known.wait())
    refusing = asyncio.ensure_future(_all_refuse(addresses))
    try:
        await asyncio.wait((waiting, refusing), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if known.is_set():
            return
        if not addresses:
            raise Unreachable(f"no peer came within {wait_s:g} s, and there is no address to ask at; name a bootstrap")
        tried = ", ".join(addresses)
        if refusing.done():
            raise Unreachable(f"nobody listens at {tried}; is a peer running there, and is the address right?")
        raise Unreachable(f"no peer answered at {tried} within {wait_s:g} s; {_advice(addresses)}")
    finally:
        waiting.cancel()
        refusing.cancel()


def _advice(addresses: Sequence[str]) -> str:
    """What to look at, where nobody answers at ``addresses``."""
    if any(map(_has_route, addresses)):
        return "check the address and the swarm key"
    if all(address.startswith("127.") for address in addresses):
        return "this machine's loopback interface is down (ip link set lo up)"
    return "no network of this machine that is up leads there"


def _has_route(address: str) -> bool:
    """Whether the system knows a way to a numeric address, or may know one to a name. Sends nothing."""
    host, port = parse_address(address)
    try:
        family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        return True
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        return asking.connect_ex((host, port)) not in (errno.ENETUNREACH, errno.EADDRNOTAVAIL)


async def _all_refuse(addresses: Sequence[str]) -> None:
    """Return once every address has refused connections for ``REFUSED_S``; never where one does not, or there is none.

    A peer listens for sessions at the very port that it takes datagrams at, and silence about a datagram says nothing.
    """
    loop = asyncio.get_running_loop()
    since: float | None = None
    while addresses:
        now = loop.time()
        if not all(await asyncio.gather(*map(_refuses, addresses))):
            break
        since = now if since is None else since
        if loop.time() - since >= REFUSED_S:
            return
        await asyncio.sleep(REFUSED_LOOK_S)
    await loop.create_future()


async def _refuses(address: str) -> bool:
    host, port = parse_address(address)
    try:
        async with asyncio.timeout(REFUSED_S):
            _, writer = await asyncio.open_connection(host, port)
    except (ConnectionRefusedError, socket.gaierror):
        return True
    except (OSError, TimeoutError):
        return False  # a filter, or somebody slow: it may answer datagrams
    writer.close()
    return False
