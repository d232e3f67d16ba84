"""Copies of a settlement log: how far each holder has it on disk, and what it is sent next.

A holder is sent each segment as it is closed. One that came later, or fell behind, is sent the stored ones in order,
a few at a time. What is known of a segment is which holders have it, and that is one number a holder (all before it
are there): a log that grows for days costs eight bytes a segment, and until readers find it the digest of its header.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field

from p2pcpn.identity.keys import NodeId
from p2pcpn.wire.addresses import Contact

# Unanswered segments of a holder, rarely above 4 MiB: what is on its way at one segment a tenth of a second.
UNANSWERED_MAX = 16
# Segments whose receipts wait for enough holders: seven minutes of a busy log. Workers offer older ones again anyway.
PENDING_MAX = 4096
Parts = dict[NodeId, tuple[Contact, list[tuple[int, int]]]]  # by worker: receipts as (epoch and token, part)


@dataclass(slots=True)
class Disk:
    """What lies on one disk: all segments before ``held``, and those in ``ahead``."""

    held: int = 0
    ahead: set[int] = field(default_factory=set)

    def has(self, number: int) -> None:
        """It has this segment on disk."""
        self.ahead.add(number)
        while self.held in self.ahead:
            self.ahead.remove(self.held)
            self.held += 1


@dataclass(slots=True)
class Holder:
    """One holder, which is owed an answer for ``awaited``."""

    contact: Contact
    disk: Disk = field(default_factory=Disk)
    sent: int = 0  # the next segment to send
    awaited: dict[int, int] = field(default_factory=dict)  # request -> segment
    stored: set[int] = field(default_factory=set)  # requests among these whose segment is read from our disk


class Copies:
    """See the module. ``own``: whether this node's own disk counts as a holder."""

    __slots__ = ("found", "holders", "_digests", "_own", "_settled", "_pending")

    def __init__(self, own: bool) -> None:
        self.holders: dict[NodeId, Holder] = {}
        self.found = 0  # so many segments, from the first on, readers find: see :meth:`find`
        self._own = Disk() if own else None
        self._settled = array("Q")  # by segment: indices settled by the log so far
        self._digests: deque[bytes] = deque()  # of the headers from the last that readers find
        self._pending: deque[tuple[int, Parts]] = deque()  # receipts that were not on enough holders yet

    def __len__(self) -> int:
        """How many segments the log has."""
        return len(self._settled)

    def add(self, settled: int, parts: Parts, header: bytes) -> None:
        """A segment was closed: ``settled`` indices so far, the digest of its ``header``; ``parts`` wait until it is
        safe."""
        self._settled.append(settled)
        self._digests.append(header)
        self._pending.append((len(self._settled) - 1, parts))
        if len(self._pending) > PENDING_MAX:
            self._pending.popleft()

    def join(self, contact: Contact) -> None:
        """One more holder, which has nothing yet."""
        self.holders.setdefault(NodeId(contact.id), Holder(contact))

    def leave(self, node: NodeId) -> None:
        """A holder is gone, and its copies with it."""
        self.holders.pop(node, None)

    def next(self, holder: Holder, request: int) -> int:
        """The segment that ``holder`` is sent next, as ``request``. Only where :meth:`owed`."""
        number = holder.sent
        holder.sent += 1
        holder.awaited[request] = number
        return number

    def owed(self, holder: Holder) -> bool:
        """Whether ``holder`` lacks a segment that it was not sent and may be sent now."""
        return holder.sent < len(self._settled) and len(holder.awaited) < UNANSWERED_MAX

    def answered(self, node: NodeId, request: int) -> bool:
        """A holder has what was sent as ``request``; false where nothing was."""
        holder = self.holders.get(node)
        number = None if holder is None else holder.awaited.pop(request, None)
        if holder is None or number is None:
            return False
        holder.stored.discard(request)
        holder.disk.has(number)
        return True

    def written(self, number: int) -> None:
        """A segment is on our own disk."""
        if self._own is not None:
            self._own.has(number)

    def disown(self) -> None:
        """Our own disk counts no more: it refused a segment."""
        self._own = None

    def find(self) -> bool:
        """Whether readers find more segments than before: those that another peer has on its disk, for ours may be lost
        with us. Where nobody else keeps the log they find what our own disk has, if that counts.

        What a holder had that is gone is found all the same: it may come back, and the others are sent it.
        """
        disks = [holder.disk for holder in self.holders.values()] or ([] if self._own is None else [self._own])
        found = max((disk.held for disk in disks), default=0)
        if found <= self.found:
            return False
        for _ in range(found - max(self.found, 1)):
            self._digests.popleft()
        self.found = found
        return True

    @property
    def last(self) -> bytes:
        """The digest of the header of the last segment that readers find. Only where they find any."""
        return self._digests[0]

    def safe(self, copies: int) -> int:
        """How many segments, from the first on, lie on at least ``copies`` holders."""
        counts = sorted((disk.held for disk in self._disks()), reverse=True)
        return counts[copies - 1] if 0 < copies <= len(counts) else 0

    @property
    def whole(self) -> int:
        """How many holders have every segment."""
        length = len(self._settled)
        return sum(1 for disk in self._disks() if disk.held == length)

    def _disks(self) -> list[Disk]:
        own = [] if self._own is None else [self._own]
        return own + [holder.disk for holder in self.holders.values()]

    def settled(self, segments: int) -> int:
        """How many indices the first so many segments settle."""
        return self._settled[segments - 1] if segments else 0

    def release(self, safe: int) -> list[tuple[Contact, list[tuple[int, int]]]]:
        """Once: the receipts of the first ``safe`` segments, by worker."""
        released: Parts = {}
        while self._pending and self._pending[0][0] < safe:
            for node, (worker, parts) in self._pending.popleft()[1].items():
                released.setdefault(node, (worker, []))[1].extend(parts)
        return list(released.values())

    def wait(self, worker: Contact, part: tuple[int, int]) -> bool:
        """Let ``part`` wait with the last segment that is not safe; false where all are."""
        if not self._pending:
            return False
        self._pending[-1][1].setdefault(NodeId(worker.id), (worker, []))[1].append(part)
        return True
