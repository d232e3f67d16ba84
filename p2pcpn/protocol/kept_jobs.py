"""Kept jobs: all that a steward holds of one job: its owner's words, how far it is, what its logs settle, its orphans.

It is here as far as a steward decides by it, and on disk in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.kept_logs import Log
from p2pcpn.protocol.kept_states import KeptStates
from p2pcpn.protocol.orphans import Orphans, name_of
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Entrust, Mandate
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import (
    Cancel,
    Close,
    Handover,
    LogHeader,
    Pause,
    Receipt,
    Signed,
    opened,
    owners_word,
    read,
)  # fmt: skip


@dataclass(slots=True)
class Sitting:
    """What is known here of whoever grants one lot of a job: where it was last heard, and what it said of itself."""

    grantor: Contact | None = None
    mandate: Mandate | None = None
    tasks: int = 0  # of the lot


@dataclass(slots=True)
class Kept:
    """One job kept here. Segments are here by digest; they, their pages and log bodies are on disk only."""

    authority: Authority
    expires_s: float
    close: Signed | None = None
    cancel: Signed | None = None
    pause: Signed | None = None  # the owner's newest word on it
    segments: list[bytes] = field(default_factory=list)
    tasks: int = 0
    logs: dict[tuple[NodeId, int], Log] = field(default_factory=dict)
    orphans: Orphans = field(default_factory=Orphans)
    disk_bytes: int = 0
    sittings: list[Sitting] = field(default_factory=list)  # one for each lot
    owner_at: Contact | None = None  # where the node is that the owner submitted from
    # Epochs that this node granted before it restarted: the tokens it gave out in them are forgotten.
    spent: set[int] = field(default_factory=set)
    saved: bytes = b""  # the digest of the row of the owner's words as it is on disk
    guest: bytes | None = None  # the network group of who brought it, where its owner is not trusted
    counted: int | None = None  # from which task on the job was divided when the tasks of its lots were counted
    states: KeptStates = field(init=False)  # what running tasks left

    def __post_init__(self) -> None:
        self.states = KeptStates(self.authority.job)
        lots, stewards = self.authority.lots, self.authority.spec.stewards
        self.counted = lots.first
        # Who grants a lot first, and where, is in the spec.
        self.sittings = [] if self.authority.is_distributed else [Sitting()]
        self.sittings += [Sitting(steward.contact) for steward in stewards[: lots.stewards]]

    @property
    def grantor(self) -> Contact | None:
        """Where whoever grants the job was last heard; of a distributed one who grants its first lot."""
        return self.sittings[0].grantor

    @grantor.setter
    def grantor(self, contact: Contact | None) -> None:
        self.sittings[0].grantor = contact

    @property
    def mandate(self) -> Mandate | None:
        """The newest that a grantor said of itself; of a distributed job that of the first lot."""
        return self.sittings[0].mandate

    @mandate.setter
    def mandate(self, mandate: Mandate | None) -> None:
        self.sittings[0].mandate = mandate

    @property
    def mandates(self) -> list[Mandate]:
        """What grantors said of themselves, for each lot the newest."""
        return [sitting.mandate for sitting in self.sittings if sitting.mandate is not None]

    @property
    def is_open(self) -> bool:
        """Whether somebody has to grant it."""
        return any(self.open_in(tenure.lot) for tenure in self.authority.granted)

    def open_in(self, lot: int) -> bool:
        """Whether somebody has to grant that lot: there are tasks of which neither logs nor their grantor say that
        they have ended."""
        self._recount()
        sitting, lots = self.sittings[lot], self.authority.lots
        logs = (log.kept for (_, epoch), log in self.logs.items() if lots.of_epoch(epoch) == lot)
        settled = [kept for _, kept in logs if kept]
        # One log settles an index once. What two of them settled may be the same: then their grantor's word counts.
        if self.cancel is not None or (sum(settled) >= sitting.tasks and len(settled) < 2):
            return False
        said = sitting.mandate
        return said is None or said.open > 0 or self.tasks > said.tasks

    def heard(self, sender: Contact) -> list[int]:
        """A peer said something of the job: which lots it grants, as far as is known. It is where it says so from."""
        found = [tenure.lot for tenure in self.authority.tenures if sender.id == node_id(tenure.grantor)]
        for lot in found:
            self.sittings[lot].grantor = sender
        if sender.id == node_id(self.authority.spec.grantor):
            self.owner_at = sender
        return found

    def stated(self, statement: Signed) -> bool:
        """Note what the owner says of the job; whether it is an order that was not known yet.

        Raises :class:`PeerError` where it is not the owner's, or of another job.
        """
        self.authority.require_owner(statement)
        if len(statement.body) > limits.SPEC_BYTES_MAX:
            raise PeerError("an owner's word on a job is too long")
        if statement.kind == Handover.kind:
            self.authority.hand_over(statement)
            return False
        said = opened(statement, owners_word(statement))
        if said.job != self.authority.job:
            raise PeerError("an owner's word is on another job")
        if isinstance(said, Close):
            self.close = statement
            return False
        return self.ordered(statement, said)

    def entrust(self, request: int, wall: float) -> Entrust:
        """What is told of the job to whoever keeps it from now on."""
        authority = self.authority
        words = (*authority.handovers, self.close, self.cancel, self.pause)
        age_s = max(0.0, min(authority.spec.retention_s, limits.RETENTION_S_MAX) - (self.expires_s - wall))
        return Entrust(request, authority.signed_spec, [word for word in words if word is not None], age_s)

    def ordered(self, statement: Signed, said: Cancel | Pause) -> bool:
        """Note the owner's order; false where it is none that was not known, or an older one than what is known."""
        if isinstance(said, Cancel):
            news, self.cancel = self.cancel is None, self.cancel or statement
            return news
        if self.pause is not None and said.number <= read(self.pause, Pause).number:
            return False
        self.pause = statement
        return True

    def restore_order(self, statement: Signed) -> None:
        """The owner's order as it stood on disk."""
        if statement.kind == Pause.kind:
            self.pause = statement
        else:
            self.cancel = statement

    @property
    def order(self) -> Signed | None:
        """What stands on disk of the owner's orders: its cancel, after which no other matters, or else its last."""
        return self.cancel or self.pause

    @property
    def total(self) -> int | None:
        return None if self.close is None else read(self.close, Close).total

    @property
    def last(self) -> bytes:
        """The digest that the next segment follows on."""
        return self.segments[-1] if self.segments else NOTHING

    def log(self, grantor: bytes, epoch: int) -> Log:
        """How far that grantor's log is held."""
        return self.logs.setdefault((NodeId(grantor), epoch), Log())

    def granted(self, grants: pages.Grants) -> None:
        """Who grants, as it was on disk. Raises :class:`PeerError` for what its owner did not sign."""
        for handover in grants.handovers:
            self.authority.hand_over(handover)
        for said in [*grants.mandates, *([] if grants.mandate is None else [grants.mandate])]:
            key = self.authority.key_of(said.grantor.id, said.epoch)
            if key is not None:
                self.authority.take_over(key, said.epoch)
                sitting = self.sittings[self.authority.tenure(said.epoch).lot]
                sitting.mandate, sitting.grantor = said, said.grantor

    def has_many_logs_of(self, grantor: NodeId, epoch: int) -> bool:
        """Whether a log of another epoch would be one too many: a steward may grant in as many epochs as it likes."""
        if (grantor, epoch) in self.logs:
            return False
        if len(self.logs) >= limits.LOGS_PER_JOB_MAX:
            return True
        return sum(of == grantor for of, _ in self.logs) >= limits.LOGS_PER_GRANTOR_MAX

    def restore_log(self, grantor: bytes, epoch: int, header: Signed, body_bytes: int) -> None:
        """A log segment is on disk; they are restored in order, and what lies beyond a gap waits for it to close."""
        log, said, name = self.log(grantor, epoch), read(header, LogHeader), digest(header.body)
        self.disk_bytes += len(header.body) + body_bytes + limits.STEWARD_ROW_BYTES
        if not log.far(said.number) and (said.number > log.count or said.previous == log.last):
            log.add(said, name)

    def restore_orphan(self, worker: bytes, said: Receipt, size_bytes: int) -> None:
        """A result that found no grantor is on disk."""
        self.orphans.add(name_of(worker, said), size_bytes)
        self.disk_bytes += size_bytes

    def restore_state(self, index: int, number: int, sealed_bytes: int) -> None:
        """A state of a running task is on disk."""
        self.states.restore(index, number, sealed_bytes)
        self.disk_bytes += sealed_bytes + limits.STEWARD_ROW_BYTES

    def add_segment(self, segment: Signed, tasks: int, pages_bytes: int) -> None:
        """The next segment is held."""
        self._recount()
        self.segments.append(digest(segment.body))
        for sitting, count in zip(self.sittings, self.authority.lots.sizes(self.tasks, tasks), strict=True):
            sitting.tasks += count
        self.tasks += tasks
        self.disk_bytes += len(segment.body) + pages_bytes + limits.STEWARD_ROW_BYTES

    def _recount(self) -> None:
        """The job was divided since the tasks of its lots were counted."""
        if self.counted != self.authority.lots.first:
            self.counted = self.authority.lots.first
            for sitting, count in zip(self.sittings, self.authority.lots.sizes(0, self.tasks), strict=True):
                sitting.tasks = count
