"""Where a peer is: ``Address`` as the sockets give it, ``Contact`` as the wire carries it."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated

import msgspec
from msgspec import Meta

from p2pcpn.errors import UsageError
from p2pcpn.wire.codec import U16, Id

Address = tuple[str, int]  # (numeric host, port); UDP and TCP share the port


@lru_cache(maxsize=1 << 14)
def pack_host(host: str) -> bytes:
    """A numeric host as 4 or 16 bytes. An IPv4 address in IPv6 clothes becomes 4 bytes. Raises ``ValueError``."""
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).packed


@lru_cache(maxsize=1 << 14)
def unpack_host(packed: bytes) -> str:
    """The numeric host of 4 or 16 bytes."""
    return str(ip_address(packed))


@lru_cache(maxsize=1 << 14)
def _is_one_host(packed: bytes) -> bool:
    """Whether these are 4 or 16 bytes that name one host. Cached: each contact that is heard of is asked."""
    if len(packed) not in (4, 16):
        return False
    host = ip_address(packed)
    # Nobody listens at "any address": to the system it means this very machine.
    return not host.is_multicast and not host.is_unspecified


class Contact(msgspec.Struct, array_like=True, frozen=True):
    """A peer and its address: 32 bytes over IPv4. It carries no key: the key comes, signed, with the peer's hello."""

    id: Id
    host: Annotated[bytes, Meta(min_length=4, max_length=16)]
    port: U16

    @property
    def address(self) -> Address:
        return (unpack_host(self.host), self.port)

    @property
    def usable(self) -> bool:
        """Whether the address can be sent to at all."""
        return self.port > 0 and _is_one_host(self.host)


def contact(node: bytes, address: Address) -> Contact:
    """The contact of ``node`` at ``address``."""
    return Contact(node, pack_host(address[0]), address[1])


def parse_address(text: str, *, port_default: int | None = None) -> Address:
    """``"host:port"`` or ``"[v6]:port"`` as an address; the host may still be a name.

    Raises :class:`UsageError` that says what was expected.
    """
    host, colon, port = text.rpartition(":")
    if not colon and port_default is not None:
        host, port = text, str(port_default)
    host = host.removeprefix("[").removesuffix("]")
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not host or not digits or int(port) >= 1 << 16:
        raise UsageError(f"{text!r} is no address; write HOST:PORT, for example 192.0.2.7:4000")
    return (host, int(port))
