"""Whole swarms: how soon one is ready, and what a peer costs while nobody asks anything of it.

Bytes are counted by the peers themselves (their datagrams and what their sessions sent), and headers are added: 28
bytes a datagram (IPv4 20, UDP 8); for sessions 40 bytes (IPv4 20, TCP 20) for every 1,448 bytes or part of it, and
1,000 for opening and closing one. The machine's own count of its loopback stands beside, as a bound from above.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import psutil

from p2pcpn.bench import usage
from p2pcpn.client.detached_swarm import LocalPeer
from p2pcpn.client.swarm import Swarm, SwarmPeer

UDP_HEADER_BYTES: Final = 28
TCP_HEADER_BYTES: Final = 40
SEGMENT_BYTES: Final = 1448
OPENING_BYTES: Final = 1000
# Every peer of a swarm of 32 hears of all others within a second; a large one never has to.
MEET_S: Final = 10.0
LOOK_S: Final = 0.01
PEERS_FOR_ALL_TO_MEET: Final = 32

Status = dict[str, Any]


def status_of(peer: SwarmPeer) -> Status | None:
    """What a peer says of itself; ``None`` where it does not answer."""
    return LocalPeer(peer.index, peer.pid, peer.address, peer.id, str(peer.data_dir)).status()


def ready(
    peers: int,
    new: Callable[..., Any] = Swarm,
    ask: Callable[[Any], Status | None] = status_of,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Start a swarm: seconds until every peer answers, and until every peer knows all others (of up to 32)."""
    begun = clock()
    with new(peers=peers) as swarm:
        listening_s = clock() - begun
        left = [peer for peer in swarm.peers if ask(peer) is None]
        while left and clock() - begun < MEET_S + listening_s:
            sleep(LOOK_S)
            left = [peer for peer in left if ask(peer) is None]
        if left:
            raise TimeoutError(f"{len(left)} of {peers} peers do not answer")
        ready_s = clock() - begun
        met_s: float | None = None
        strangers = list(swarm.peers) if peers <= PEERS_FOR_ALL_TO_MEET else []
        while strangers and clock() - begun < MEET_S + ready_s:
            strangers = [peer for peer in strangers if (ask(peer) or {}).get("known_peers", 0) < peers - 1]
            if not strangers:
                met_s = clock() - begun
            else:
                sleep(LOOK_S)
    return {"ready_s": ready_s, "listening_s": listening_s, "met_s": met_s, "peers": peers}


def idle(
    peers: int,
    settle_s: float,
    idle_s: float,
    new: Callable[..., Any] = Swarm,
    ask: Callable[[Any], Status | None] = status_of,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Start a swarm, leave it alone for ``settle_s``, then count for ``idle_s``: means over all peers and all time."""
    with new(peers=peers) as swarm:
        sleep(settle_s)
        before = [_counted(peer, ask) for peer in swarm.peers]
        loopback, begun = _loopback_bytes(), time.perf_counter()
        sleep(idle_s)
        after = [_counted(peer, ask) for peer in swarm.peers]
        seconds = time.perf_counter() - begun
        loopback = _loopback_bytes() - loopback
        memory = [usage.memory_bytes(usage.tree(peer.pid)) for peer in swarm.peers]
        known = [(ask(peer) or {}).get("known_peers", 0) for peer in swarm.peers]
    sent = [last["bytes"] - first["bytes"] for first, last in zip(before, after, strict=True)]
    datagrams = [last["datagrams"] - first["datagrams"] for first, last in zip(before, after, strict=True)]
    cpu = [last["cpu_s"] - first["cpu_s"] for first, last in zip(before, after, strict=True)]
    return {
        "peers": peers, "seconds": seconds,
        "sent_bytes_per_s": _mean(sent) / seconds, "sent_bytes_per_s_max": max(sent) / seconds,
        "datagrams_per_s": _mean(datagrams) / seconds,
        "loopback_bytes_per_s": loopback / peers / seconds,
        "sessions_opened": sum(last["opened"] - first["opened"] for first, last in zip(before, after, strict=True)),
        "core_percent": _mean(cpu) / seconds * 100, "core_percent_max": max(cpu) / seconds * 100,
        "memory_bytes": _mean(memory), "memory_bytes_max": max(memory),
        "known_peers_min": min(known),
    }  # fmt: skip


def _counted(peer: Any, ask: Callable[[Any], Status | None]) -> dict[str, float]:
    status = ask(peer)
    if status is None:
        raise TimeoutError(f"peer {peer.index} does not answer")
    udp, sessions = status["statistics"]["udp"], status["statistics"]["sessions"]
    datagrams, stream = udp.get("sent", 0), sessions["bytes_out"]
    return {
        "datagrams": datagrams,
        "opened": sessions["opened"],
        "bytes": udp.get("sent_bytes", 0) + datagrams * UDP_HEADER_BYTES + stream
        + -(-stream // SEGMENT_BYTES) * TCP_HEADER_BYTES + sessions["opened"] * OPENING_BYTES,
        "cpu_s": usage.cpu_s(usage.tree(peer.pid)),
    }  # fmt: skip


def _loopback_bytes() -> int:
    """What the loopback has carried; all of this machine's programs together."""
    found = psutil.net_io_counters(pernic=True)
    return next((counts.bytes_sent for name, counts in found.items() if name.startswith("lo")), 0)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
