"""Surroundings: what a node can tell of where it stands without asking anybody."""

from __future__ import annotations

import ipaddress
import platform
import socket
import sys

from p2pcpn.wire.addresses import Address, pack_host

EVERYWHERE = ("0.0.0.0", "::")


def python_version() -> str:
    """``"3.11"``: what a job's functions were pickled by, and what runs them here."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def platform_words() -> tuple[str, str]:
    """Implementation and platform, in the words of an advert: ``("cpython", "linux-x86_64")``."""
    return sys.implementation.name[:16], f"{sys.platform}-{platform.machine()}"[:32]


def own_host(host: str, *, local: bool) -> str:
    """The address others can reach us at, as far as can be told without asking: the one routes leave from."""
    if host not in EVERYWHERE:
        return host
    if local:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation address: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def by_port(address: Address) -> tuple[str, int]:
    """The network group of a peer of one machine's swarm: they are told apart by port."""
    return address


def by_prefix(address: Address) -> bytes:
    """The network group of any other peer: /24 of IPv4, /48 of IPv6; within a private network, each host.

    A stranger has many addresses of one prefix on the Internet, and none of a private network: there a bound on each
    prefix would only keep an office's peers out of each other's tables.
    """
    packed = pack_host(address[0])
    if ipaddress.ip_address(packed).is_private:
        return packed
    return packed[:3] if len(packed) == 4 else packed[:6]
