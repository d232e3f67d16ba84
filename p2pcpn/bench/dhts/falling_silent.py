"""Hash tables of which peers fall silent without a word: sockets stay open, and nothing is answered any more.

A peer of p2pcpn is a process, stopped by SIGSTOP: the kernel goes on taking what is sent to it. Whoever stores and
gets are a few more peers, in this program. Of ``kademlia`` all are servers of one asyncio program, and the silent
ones throw away what they receive.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
from typing import Any, Final

from p2pcpn.bench.dhts.kademlia import KademliaTable
from p2pcpn.bench.dhts.overlay import OverlayTable, Peers
from p2pcpn.client.swarm import Swarm
from p2pcpn.identity.keys import Keypair

ASKERS: Final = 4


class SilentSwarm(OverlayTable):
    """``start(n)``: n processes, of which :meth:`silence` stops some, and :data:`ASKERS` peers beside them."""

    def __init__(self) -> None:
        super().__init__()
        self._swarm: Swarm | None = None
        self._stopped: list[int] = []

    def start(self, peers: int) -> None:
        swarm = self._swarm = Swarm(peers=peers, seed=None, swarm_key=secrets.token_hex(32))
        self._peers = Peers(swarm.key, Keypair(os.urandom(32)))
        super().start(ASKERS)

    async def _start(self, peers: int) -> None:
        assert self._swarm is not None, "the processes are started first"
        await self._peers.start(peers, self._swarm.bootstrap)
        for node in self._peers.nodes:
            await node.overlay.joined.wait()

    def silence(self, peers: int, rng: random.Random) -> int:
        """Stop so many; how many there are."""
        assert self._swarm is not None, "start() comes first"
        for peer in rng.sample(list(self._swarm.peers), peers):
            self._stopped.append(peer.pid)
            os.kill(peer.pid, signal.SIGSTOP)
        return len(self._stopped)

    def stop(self) -> None:
        stopped, self._stopped = self._stopped, []
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        try:
            super().stop()
        finally:
            swarm, self._swarm = self._swarm, None
            if swarm is not None:
                swarm.close()


class SilentKademlia(KademliaTable):
    """``kademlia`` as it is, some of whose servers fall silent. The first few do not: they store and get."""

    def silence(self, peers: int, rng: random.Random) -> int:
        """Let so many throw away what they receive; how many did."""
        silent: list[Any] = rng.sample(self._servers[ASKERS:], peers)
        for server in silent:
            server.protocol.datagram_received = _ignore
        return len(silent)

    def store(self, peer: int, key: str, value: bytes) -> bool:
        try:
            return super().store(peer, key, value)
        except TimeoutError:  # a minute is enough to say that it takes more
            return False

    def get(self, peer: int, key: str) -> bytes | None:
        try:
            return super().get(peer, key)
        except TimeoutError:
            return None


def _ignore(data: bytes, address: object) -> None:
    pass
