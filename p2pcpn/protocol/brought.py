"""Brought blobs: what of a peer's disk others may fill with blobs of jobs that are kept or granted here.

Whoever submitted a job, keeps it, grants it or runs its tasks brings blobs as the job needs them, up to all of the
disk. Of a guest's job they have the guests' part, and of that its owner a part. Whoever has no part in a job may still
have a result of it (its grantor died, and this peer keeps the job), and a stranger's log of a job that is unknown here
names blobs, too: such peers have as much together, and each of them as much as one owner of guests' jobs. What is given
back is given back with the job.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol.quota import Quota

if TYPE_CHECKING:
    from p2pcpn.protocol.peer import Peer

# A file, its place in a folder, and its row.
ENTRY_BYTES = 4096
# Who pays: an owner whom nobody here trusts, or a peer that has no part in the job.
Payer = tuple[str, bytes]
OWNER, SOURCE = "owner", "source"


class Brought:
    """See the module. Of a disk of ``disk_bytes`` (``None``: without a bound) that ``peer`` gives to others."""

    def __init__(self, peer: Peer, disk_bytes: int | None) -> None:
        self._peer = peer
        part = limits.GUESTS_PART
        whole = 1 << 63 if disk_bytes is None else disk_bytes
        self._quotas = {kind: Quota(whole // part, whole // part // part) for kind in (OWNER, SOURCE)}
        self._jobs: dict[bytes, Counter[Payer]] = {}

    def take(self, job: bytes, source: NodeId, size_bytes: int) -> bool:
        """``source`` is about to bring a blob of a job; false where there is no room for it."""
        payer = self._payer(job, source)
        if payer is None:
            return True
        cost_bytes = size_bytes + ENTRY_BYTES
        quota = self._quotas[payer[0]]
        if not quota.fits(payer[1], cost_bytes) or len(self._jobs) > limits.JOBS_PER_PEER_MAX:
            self._sweep()
        if not quota.fits(payer[1], cost_bytes):
            return False
        self._spend(job, payer, cost_bytes)
        return True

    def restore(self, job: bytes, size_bytes: int) -> None:
        """A blob lies here from an earlier life. Who brought it is forgotten: it is the owner's."""
        owner = self._guest(job)
        if owner is not None:
            self._spend(job, (OWNER, owner), size_bytes + ENTRY_BYTES)

    @property
    def restores(self) -> bool:
        """Whether anybody would pay for what :meth:`restore` is told of."""
        return any(kept.guest is not None for kept in self._peer.steward.jobs.values())

    def _spend(self, job: bytes, payer: Payer, cost_bytes: int) -> None:
        self._jobs.setdefault(job, Counter())[payer] += cost_bytes
        self._quotas[payer[0]].take(payer[1], cost_bytes)

    def _sweep(self) -> None:
        """What jobs took that are known no more is given back."""
        logged = frozenset(self._peer.steward.foreign.jobs())
        for job in [job for job in self._jobs if job not in logged and not self._is_here(job)]:
            for (kind, who), cost_bytes in self._jobs.pop(job).items():
                self._quotas[kind].give_back(who, cost_bytes)

    def _is_here(self, job: bytes) -> bool:
        """Whether a job is kept or granted here."""
        return job in self._peer.steward.jobs or job in self._peer.jobs.granted

    def _payer(self, job: bytes, source: NodeId) -> Payer | None:
        """Who is bound by a part of the disk; nobody, where all of it is the job's."""
        peer = self._peer
        if job not in peer.steward.jobs and job not in peer.jobs.granted:
            key = peer.lines.keys.get(source)
            if job in peer.worker.works or (key is not None and peer.setup.belongs(key)):
                return None  # what tasks take is let go of with them; a member's log counts as his
            return SOURCE, source
        if not self._takes_part(job, source):
            return SOURCE, source
        owner = self._guest(job)
        return None if owner is None else (OWNER, owner)

    def _guest(self, job: bytes) -> bytes | None:
        """The owner of a guest's job."""
        kept = self._peer.steward.jobs.get(job)
        return None if kept is None or kept.guest is None else kept.authority.owner

    def _takes_part(self, job: bytes, source: NodeId) -> bool:
        """Whether a peer submitted the job, keeps it, grants it or runs tasks of it, as far as is known here."""
        peer = self._peer
        for grantor in peer.jobs.granted.of(job):
            if source in grantor.participants or source in grantor.custody.stewards.all:
                return True
        work = peer.worker.works.get(job)
        if work is not None and any(grantor.id == source for grantor in work.grantors):
            return True
        authority = peer.presiding.authority(job)
        if authority is None:
            return False
        if any(steward.contact.id == source for steward in authority.spec.stewards):
            return True
        return source in frozenset(
            (node_id(authority.spec.grantor), *(node_id(each.grantor) for each in authority.tenures))
        )
