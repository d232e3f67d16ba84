"""Orphans: results that their workers brought to a steward because nobody granted, kept for whoever grants next.

Each is its worker's: two workers that name the same lease displace nothing of each other's, and one that brings without
end fills its own share alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.work import run_number
from p2pcpn.wire.statements import Receipt, Signed

Name = tuple[NodeId, int, int]  # worker; epoch and token as one; part


def name_of(worker: bytes, said: Receipt) -> Name:
    """What tells a receipt of ``worker`` from all others of its job."""
    return NodeId(worker), run_number(said.epoch, said.token), said.part


def orphan_bytes(receipt: Signed, page: bytes) -> int:
    """What one costs of the disk."""
    return len(receipt.body) + len(page) + limits.STEWARD_ROW_BYTES


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
