"""The leases of a grantor: which tokens live, what each still owes, and when the next one ends.

The spans of one lease never overlap, and an index is owed under at most two live leases: the second is a *hedge*, on
another peer (``book``). A lease that ended unfulfilled is remembered for a while: its results may come late, and are
good where nobody else was given the task since (a token that has ended is fenced for an index only once a newer lease
for it exists).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.spans import Span, total, without

# 300 bytes each and their spans: the leases of a hundred peers that are lost together.
UNFULFILLED_MAX = 1024


@dataclass(slots=True)
class LeaseHeld:
    """A lease of ``spans`` to ``peer``; it still owes ``open``. Both are joined."""

    peer: NodeId
    spans: list[Span]
    open: list[Span]
    until: float
    since: float
    hedge: bool = False  # its tasks were leased to another peer before
    further: bool = False  # what it owes came after it had been granted
    moved: int = 0  # how often its tasks were given back by peers that had not begun them

    @property
    def remaining(self) -> int:
        """How many tasks it still owes."""
        return total(self.open)


class Leases:
    """See the module. Times are the caller's ``now``. Tokens are counted from ``first`` in steps of ``step``."""

    __slots__ = ("live", "unfulfilled", "granted", "_ends", "_step")

    def __init__(self, first: int = 0, step: int = 1) -> None:
        self.live: dict[int, LeaseHeld] = {}
        self.unfulfilled: OrderedDict[int, LeaseHeld] = OrderedDict()
        self.granted = first  # the last token that was given out
        self._step = step
        self._ends: list[tuple[float, int]] = []  # a heap; an entry may be earlier than its lease ends by now

    def grant(self, peer: NodeId, spans: list[Span], until: float, since: float = 0.0, *, hedge: bool = False) -> int:
        """A new lease; returns its token."""
        self.granted += self._step
        self.live[self.granted] = LeaseHeld(peer, spans, spans, until, since, hedge)
        heappush(self._ends, (until, self.granted))
        return self.granted

    def further(
        self, token: int, peer: NodeId, spans: list[Span], fresh: list[Span], until: float, since: float
    ) -> None:
        """A lease that was granted ahead, and owes nothing now, owes ``fresh``; it gave ``spans`` by now, in all."""
        assert token not in self.live and token not in self.unfulfilled
        self.live[token] = LeaseHeld(peer, spans, fresh, until, since, further=True)
        heappush(self._ends, (until, token))

    def renew(self, lease: LeaseHeld, until: float) -> None:
        """The peer spoke of it. The heap learns of it when the old end comes."""
        lease.until = max(lease.until, until)

    def hasten(self, token: int, until: float) -> None:
        """Let a lease end sooner."""
        lease = self.live[token]
        if until < lease.until:
            lease.until = until
            heappush(self._ends, (until, token))

    def known(self, token: int) -> LeaseHeld | None:
        """A live lease, or one that ended unfulfilled not long ago."""
        return self.live.get(token) or self.unfulfilled.get(token)

    def fulfil(self, token: int, spans: list[Span]) -> None:
        """``spans``, owed under this live lease, are no longer; with the last of them it ends."""
        lease = self.live[token]
        lease.open = [] if lease.open == spans else without(lease.open, spans)
        if not lease.open:
            del self.live[token]

    def end(self, token: int) -> LeaseHeld:
        """A live lease ends with what it still owes."""
        lease = self.live.pop(token)
        self.unfulfilled[token] = lease
        if len(self.unfulfilled) > UNFULFILLED_MAX:
            self.unfulfilled.popitem(last=False)
        return lease

    def deadline(self) -> float | None:
        """When the next lease ends, if nobody renews it."""
        while self._ends:
            until, token = self._ends[0]
            lease = self.live.get(token)
            if lease is None or lease.until < until:  # gone, or entered again with an earlier end
                heappop(self._ends)
            elif lease.until > until:
                heapreplace(self._ends, (lease.until, token))
            else:
                return until
        return None

    def expired(self, now: float) -> list[int]:
        """The tokens of the live leases whose time has passed, in the order of their ends; the caller ends them."""
        found: dict[int, None] = {}  # a lease that was hastened and renewed may stand in the heap twice
        while (until := self.deadline()) is not None and until <= now:
            found[heappop(self._ends)[1]] = None
        return list(found)
