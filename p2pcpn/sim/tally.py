"""The tally: what a swarm's datagrams are for, those by which holders keep up what they hold beside all.

A datagram is counted when it is said to a pair, once for each time it is sent. Requests are counted by what their peer
asks them for, replies by the nonce that they echo. Greetings make pairs and are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from p2pcpn.protocol.peer import Peer
from p2pcpn.wire.datagrams import REPLIES, Datagram, Ping

_REPLIES = frozenset(REPLIES)


@dataclass(frozen=True, slots=True)
class Counts:
    """Datagrams and bytes: all, and those of upkeep among them."""

    datagrams: int = 0
    bytes: int = 0
    upkeep: int = 0
    upkeep_bytes: int = 0

    def since(self, before: Counts) -> Counts:
        """What was added to ``before``."""
        return Counts(
            self.datagrams - before.datagrams, self.bytes - before.bytes, self.upkeep - before.upkeep,
            self.upkeep_bytes - before.upkeep_bytes,
        )  # fmt: skip


class Tally:
    """What the watched peers said over pairs: in all, and to keep up what is held (repair, hand-over and the hourly
    turn of each item, with the lookups that these take)."""

    def __init__(self) -> None:
        self._datagrams = self._bytes = self._upkeep = self._upkeep_bytes = 0
        self._nonces: set[int] = set()  # of upkeep's requests that were not answered yet; 63 random bits each

    def watch(self, peer: Peer) -> None:
        """Count what ``peer`` says from now on."""
        peer.pairs.said = partial(self._said, peer)

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return Counts(self._datagrams, self._bytes, self._upkeep, self._upkeep_bytes)

    def _said(self, peer: Peer, message: Datagram, size_bytes: int) -> None:
        self._datagrams += 1
        self._bytes += size_bytes
        nonce: int | None = getattr(message, "nonce", None)
        if nonce is None:
            return
        if type(message) in _REPLIES:
            if nonce not in self._nonces:
                return
            self._nonces.remove(nonce)
        elif type(message) is not Ping and peer.dht.keeps_up(nonce):  # most of what is said are pings
            self._nonces.add(nonce)
        else:
            return
        self._upkeep += 1
        self._upkeep_bytes += size_bytes
