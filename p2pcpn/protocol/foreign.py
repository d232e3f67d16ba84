"""Foreign logs: logs of jobs that are not known here, kept for the grantors that signed them, as whose disk they count.

A grantor that has too few stewards brings its log to storage peers near the job, which learn nothing of the job but its
id. So no owner stands for what is kept: its grantor does, and where that is neither a member of a keyed swarm nor
trusted it is a guest, like an owner whom nobody here trusts (:mod:`p2pcpn.protocol.guests`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.guests import Guests
from p2pcpn.protocol.quota import Quota

Key = tuple[bytes, NodeId]  # job and grantor


@dataclass(slots=True)
class Foreign:
    """What is held of one log: until when, how much, and as whose guest."""

    expires_s: float
    guest: bytes | None
    disk_bytes: int = 0


class ForeignLogs:
    """See the module. ``quota`` and ``guests`` are a steward's: what it keeps of known jobs counts there, too."""

    def __init__(self, quota: Quota, guests: Guests) -> None:
        self._quota = quota
        self._guests = guests
        self._logs: dict[Key, Foreign] = {}
        self._by_grantor: Counter[bytes] = Counter()
        self._by_guest: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._logs)

    def jobs(self) -> list[bytes]:
        """The jobs of which there are logs."""
        return list(dict.fromkeys(job for job, _ in self._logs))

    def fits(self, job: bytes, grantor: NodeId, size_bytes: int, guest: bytes | None) -> bool:
        """Whether so much more of that log may be kept."""
        if not self._quota.fits(grantor, size_bytes) or not self._guests.fits(guest, size_bytes):
            return False
        if (job, grantor) in self._logs:
            return True
        if self._by_grantor[grantor] >= limits.JOBS_PER_OWNER_MAX or len(self._logs) >= limits.JOBS_PER_PEER_MAX:
            return False
        most = limits.JOBS_PER_PEER_MAX // limits.GUESTS_PART
        return guest is None or (
            self._by_guest.total() < most and self._by_guest[guest] < max(1, most // limits.GUESTS_PART)
        )

    def take(self, job: bytes, grantor: NodeId, size_bytes: int, until: float, guest: bytes | None) -> bool:
        """So much more is kept; whether it is the first of that log. What lies on disk already fits always."""
        foreign = self._logs.get((job, grantor))
        fresh = foreign is None
        if foreign is None:
            foreign = self._logs[job, grantor] = Foreign(until, guest)
            self._by_grantor[grantor] += 1
            if guest is not None:
                self._by_guest[guest] += 1
        foreign.disk_bytes += size_bytes
        self._quota.take(grantor, size_bytes)
        if foreign.guest is not None:
            self._guests.quota.take(foreign.guest, size_bytes)
        return fresh

    def sweep(self, now: float) -> None:
        """Forget what has expired."""
        for key in [key for key, foreign in self._logs.items() if foreign.expires_s < now]:
            self._drop(key)

    def drop(self, job: bytes) -> None:
        """The logs of a job count as its grantors' no more."""
        for key in [key for key in self._logs if key[0] == job]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        foreign = self._logs.pop(key)
        self._quota.give_back(key[1], foreign.disk_bytes)
        self._by_grantor[key[1]] -= 1
        if not self._by_grantor[key[1]]:
            del self._by_grantor[key[1]]
        if foreign.guest is not None:
            self._guests.quota.give_back(foreign.guest, foreign.disk_bytes)
            self._by_guest[foreign.guest] -= 1
            if not self._by_guest[foreign.guest]:
                del self._by_guest[foreign.guest]
