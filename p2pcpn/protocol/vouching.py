"""Vouching: whether a reader believes a steward that says that it grants a job now, and how far the job is.

That tasks were given up no receipt states, so whoever grants is believed when it says that nothing more will come. A
steward may begin any of its own epochs that can have come, so it could say so of a job that another grants. But who
grants says so to all stewards, at once and every two seconds: its word counts when another steward has heard of its
epoch, or of a newer one, or when no other answers. Who was away when that was said has heard of it by the log that it
was brought since. What the owner's signature gives needs nobody who has heard of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority


class Vouching:
    """See the module: of the job of ``authority``. Bounded by the stewards that its spec names."""

    __slots__ = ("_authority", "_heard", "_stewards")

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._stewards = {NodeId(steward.contact.id) for steward in authority.spec.stewards}
        self._heard: dict[NodeId, dict[int, int]] = {}  # steward -> lot -> the newest epoch that it names

    def names(self, node: NodeId, epochs: Iterable[int], logs: Iterable[tuple[bytes, int, int]] = ()) -> None:
        """``node`` answers, names these epochs, and keeps these ``logs``, each as (grantor, epoch, segments)."""
        if node not in self._stewards:
            return
        newest: dict[int, int] = {}
        written = [epoch for grantor, epoch, _ in logs if self._authority.key_of(grantor, epoch) is not None]
        for epoch in (*epochs, *written):
            lot = self._authority.lots.of_epoch(epoch)
            newest[lot] = max(epoch, newest.get(lot, 0))
        self._heard[node] = newest

    def silent(self, node: NodeId) -> None:
        """``node`` does not answer."""
        self._heard.pop(node, None)

    def known(self, epoch: int) -> bool:
        """Whether two stewards have heard of ``epoch`` or of a newer one of its lot, or the only one that answers."""
        lot = self._authority.lots.of_epoch(epoch)
        heard = [newest.get(lot, 0) >= epoch for newest in self._heard.values()]
        return sum(heard) >= min(2, len(heard))

    def believes(self, node: bytes, epoch: int) -> bool:
        """Whether ``node`` is believed that it grants in ``epoch``, which is its own."""
        authority = self._authority
        key = authority.key_of(node, epoch)
        if key is None:
            return False
        if epoch == 0 or authority.is_first(epoch) or authority.handed(key, epoch):
            return True
        lot = authority.lots.of_epoch(epoch)
        others = [newest for other, newest in self._heard.items() if other != node]
        return not others or any(newest.get(lot, 0) >= epoch for newest in others)
