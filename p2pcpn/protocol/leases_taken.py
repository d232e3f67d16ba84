"""Leases held by this peer: each task accounted for once, renewed while one is left, over with the last.

A task is accounted for by its result, by being given back, or by having been revoked. Every sign of life puts a lease
at the end of the line of those to be renewed, so the first in it is always the next.
"""

from __future__ import annotations

from collections import OrderedDict

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.spans import Span, total
from p2pcpn.protocol.work import LeaseTaken, Work
from p2pcpn.wire.messages import Progress, Return


class Leases:
    """The leases of all jobs. ``sessions`` are the peers we can talk to."""

    def __init__(self, sessions: set[NodeId]) -> None:
        self._sessions = sessions
        self._line: OrderedDict[tuple[bytes, tuple[int, int]], tuple[Work, LeaseTaken]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._line)

    def take(self, work: Work, lease: LeaseTaken, now: float) -> None:
        """A lease begins."""
        work.leases[lease.key] = lease
        self._renew(work, lease, now)

    def ended(self, work: Work, lease: LeaseTaken, count: int, now: float) -> None:
        """``count`` of its tasks are accounted for; with the last one the lease is over."""
        lease.remaining -= count
        assert lease.remaining >= 0, "more tasks ended than were leased"
        if lease.remaining:
            self._renew(work, lease, now)
        elif lease.key in work.leases:
            del work.leases[lease.key], self._line[work.job, lease.key]

    def give_back(
        self, work: Work, lease: LeaseTaken, spans: list[Span], why: str, now: float, code: str = "late"
    ) -> list[Effect]:
        """Tasks go back to the grantor unrun."""
        if not spans:
            return []
        self.ended(work, lease, total(spans), now)
        return [Tell(lease.grantor, Return(work.job, lease.token, spans, code, why[: limits.REASON_CHARS_MAX]))]

    def progress(self, work: Work, lease: LeaseTaken, started: list[int], now: float) -> list[Effect]:
        """Renew a lease, and tell which of its tasks run; to a grantor without a session nothing is said."""
        self._renew(work, lease, now)
        if lease.grantor.id not in self._sessions:
            return []
        return [Tell(lease.grantor, Progress(work.job, lease.token, started))]

    def _renew(self, work: Work, lease: LeaseTaken, now: float) -> None:
        lease.renew_at = now + limits.RENEW_S
        self._line[work.job, lease.key] = (work, lease)
        self._line.move_to_end((work.job, lease.key))

    def session_opened(self, peer: NodeId, now: float) -> list[Effect]:
        """A grantor is there again: it hears at once that its leases live."""
        held = [(work, lease) for work, lease in self._line.values() if lease.grantor.id == peer]
        return [effect for work, lease in held for effect in self.progress(work, lease, [], now)]

    def deadline(self) -> float | None:
        return next((lease.renew_at for _, lease in self._line.values()), None)

    def expire(self, now: float) -> list[Effect]:
        """Renew what has been silent for ``RENEW_S``."""
        effects: list[Effect] = []
        while (at := self.deadline()) is not None and at <= now:
            work, lease = next(iter(self._line.values()))
            effects += self.progress(work, lease, [], now)
        return effects
