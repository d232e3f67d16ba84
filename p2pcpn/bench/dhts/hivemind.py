"""hivemind's DHT: sixteen of its peers, each a process with its own daemon."""

from __future__ import annotations

from typing import Any, Final

from p2pcpn.bench.dhts.table import Table

EXPIRE_S: Final = 300.0
LISTEN: Final = "/ip4/127.0.0.1/tcp/0"


class HivemindTable(Table):
    """See the module."""

    def __init__(self) -> None:
        self._peers: list[Any] = []
        self._now: Any = None

    def start(self, peers: int) -> None:
        import hivemind
        from hivemind.utils.timed_storage import get_dht_time

        self._now = get_dht_time
        known: list[str] = []
        for _ in range(peers):
            peer = hivemind.DHT(start=True, initial_peers=known[:4], host_maddrs=[LISTEN])
            self._peers.append(peer)
            known += [str(address) for address in peer.get_visible_maddrs()]

    def stop(self) -> None:
        peers, self._peers = self._peers, []
        for peer in peers:
            peer.shutdown()

    def store(self, peer: int, key: str, value: bytes) -> bool:
        return bool(self._peers[peer].store(key, value, self._now() + EXPIRE_S))

    def get(self, peer: int, key: str) -> bytes | None:
        found = self._peers[peer].get(key, latest=True)
        return None if found is None else found.value
