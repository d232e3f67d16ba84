"""Orphans: results that their workers brought to a steward because nobody granted, kept for whoever grants next.

Each is its worker's: two workers that name the same lease displace nothing of each other's, and one that brings without
end fills its own share alone.

Who granted the lease is not there to say what it gave, and the key of one lease opens a receipt for any task. So the
lease comes along, as it was signed: it says to whom it gave which tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol.spans import covers, merged
from p2pcpn.protocol.work import run_number
from p2pcpn.wire.messages import Orphan, Results
from p2pcpn.wire.statements import Lease, Receipt, Signed, opened

Name = tuple[NodeId, int, int]  # worker; epoch and token as one; part


def name_of(worker: bytes, said: Receipt) -> Name:
    """What tells a receipt of ``worker`` from all others of its job."""
    return NodeId(worker), run_number(said.epoch, said.token), said.part


def orphan_bytes(message: Results | Orphan) -> int:
    """What one costs of the disk."""
    lease_bytes = 0 if message.lease is None else len(message.lease.body)
    return len(message.receipt.body) + len(message.page) + lease_bytes + limits.STEWARD_ROW_BYTES


def require_leased(lease: Signed, worker: bytes, said: Receipt) -> None:
    """Raises :class:`PeerError` unless ``lease`` is signed by the grantor that a receipt of ``worker`` names, and gave
    that worker all that the receipt states. Whether that node may grant is not looked at."""
    gave = opened(lease, Lease)
    named = (said.job, said.epoch, said.token, said.grantor, node_id(worker))
    if (gave.job, gave.epoch, gave.token, node_id(lease.key), gave.worker) != named:
        raise PeerError("a receipt comes with the lease of another")
    if not covers(merged([(first, count) for first, count in gave.spans]), said.spans):
        raise PeerError("a receipt states tasks that its lease did not give")


@dataclass(slots=True)
class Orphans:
    """Those of one job, by name; their rows are on disk only."""

    held_bytes: int = 0
    _held: set[Name] = field(default_factory=set)
    _of: dict[NodeId, tuple[int, int]] = field(default_factory=dict)  # count and bytes by worker

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, name: Name) -> bool:
        return name in self._held

    def room(self, name: Name, size_bytes: int) -> bool:
        """Whether one more fits, in all and of its worker."""
        count, held_bytes = self._of.get(name[0], (0, 0))
        if len(self) >= limits.ORPHANS_PER_JOB_MAX or count >= limits.ORPHANS_PER_WORKER_MAX:
            return False
        share_bytes = limits.UNSETTLED_BYTES_MAX * limits.ORPHANS_PER_WORKER_MAX // limits.ORPHANS_PER_JOB_MAX
        return self.held_bytes + size_bytes <= limits.UNSETTLED_BYTES_MAX and held_bytes + size_bytes <= share_bytes

    def add(self, name: Name, size_bytes: int) -> None:
        """One more is kept, or was found on disk."""
        if name in self._held:
            return
        count, held_bytes = self._of.get(name[0], (0, 0))
        self._held.add(name)
        self._of[name[0]] = (count + 1, held_bytes + size_bytes)
        self.held_bytes += size_bytes
