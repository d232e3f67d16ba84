"""Journal: results that nobody has acknowledged. Kept on disk, offered again, to the grantor and then to the stewards.

A result is told to its grantor at once where there is a session. When the session is lost it waits; a session that
comes back brings all of them again. A grantor that stays away is dialled, and between its turns the stewards are
offered the results in order, ever less often, until they are acknowledged or the job's retention is over. Acknowledged
means: on enough holders, or with a steward. In memory the journal is bounded; what was pushed out stays on disk until
a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heappop, heappush

import msgspec

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Commit, Dial, Effect, Tell, TellBlob, Write
from p2pcpn.protocol.work import TOKEN_BITS, LeaseTaken, Unsettled, Work, run_number
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.messages import Results
from p2pcpn.wire.statements import Receipt, Signed, read

ORPHANED_AFTER_S = 3.0
ORPHANED_AFTER_S_MAX = 300.0
# What an entry costs beside its page: the receipt, the row's key, the objects around them.
ENTRY_BYTES = 1024
# A job with rows in the journal has one in ``meta`` too: without its spec nothing could be offered after a restart.
JOB_ROW_PREFIX = "journal "

Key = tuple[bytes, int, int, int]  # job, epoch, token, part


class JobRow(msgspec.Struct, array_like=True, frozen=True):
    """What is needed to offer a job's results after a restart."""

    spec: Signed
    grantor: Contact


JOB_ROW: Codec[JobRow] = Codec(JobRow, 2 * limits.SPEC_BYTES_MAX, "job of a journal")


class Journal:
    """Unsettled results of all jobs; each :class:`Work` holds its own. ``sessions`` are the peers we can talk to."""

    def __init__(self, me: NodeId, sessions: set[NodeId]) -> None:
        self._me = me
        self._sessions = sessions
        self.count = 0
        self.held_bytes = 0
        self.spilled = 0  # results whose bytes left memory before they were acknowledged
        # Those with bytes in memory, and those whose row alone is left, oldest first.
        self._held: OrderedDict[Key, Work] = OrderedDict()
        self._on_disk: OrderedDict[Key, Work] = OrderedDict()
        self._timers: list[tuple[float, int, Work]] = []
        self._timer = 0

    def add(
        self, work: Work, lease: LeaseTaken, part: int, message: Results, blobs: tuple[bytes, ...], now: float
    ) -> list[Effect]:
        """Remember a result, on disk too, and tell it where somebody listens."""
        writes = [] if work.unsettled else [Write("meta", (_row_name(work),), (_job_row(work),))]
        to = work.grantor_in(lease.epoch) if work.authority.is_past(lease.epoch) else lease.grantor
        entry = Unsettled(message, blobs, to)
        signed = None if message.lease is None else pages.SIGNED.encode(message.lease)
        row = (lease.epoch, lease.grantor.id, pages.SIGNED.encode(message.receipt), message.page, signed)
        key = (work.job, lease.epoch, lease.token, part)
        writes.append(Write("journal", row_key(*key), row))
        self._hold(work, key, entry)
        commit = Commit(tuple(writes))
        if self.listens(to):
            return [*_told(work, to, entry, message), commit]
        self.lost(work, now)
        return [commit]

    def _hold(self, work: Work, key: Key, entry: Unsettled) -> None:
        work.unsettled[key[1:]] = entry
        self._held[key] = work
        self.count += 1
        self.held_bytes += _cost(entry)
        while self.held_bytes > limits.UNSETTLED_BYTES_MAX and len(self._held) > 1:
            old, of = self._held.popitem(last=False)
            spilled = of.unsettled[old[1:]]
            self.held_bytes -= _cost(spilled)
            spilled.message = None
            self.spilled += 1
            self._on_disk[old] = of
        while self.count > limits.UNSETTLED_MAX:
            old = next(iter(self._on_disk or self._held))
            self._drop((self._on_disk or self._held)[old], old)

    def _drop(self, work: Work, key: Key) -> None:
        entry = work.unsettled.pop(key[1:])
        self.count -= 1
        if self._held.pop(key, None) is None:
            del self._on_disk[key]
        else:
            self.held_bytes -= _cost(entry)

    def settled(self, work: Work, parts: list[tuple[int, int]]) -> list[Effect]:
        """Somebody who may acknowledged these: (epoch and token as one, part)."""
        token_max = (1 << TOKEN_BITS) - 1
        keys = [(number >> TOKEN_BITS, number & token_max, part) for number, part in parts]
        return self.forget(work, [key for key in keys if key in work.unsettled])

    def forget(self, work: Work, keys: list[tuple[int, int, int]]) -> list[Effect]:
        """These (epoch, token, part) lie where they outlive us."""
        writes: list[Write] = []
        for key in dict.fromkeys(keys):
            self._drop(work, (work.job, *key))
            writes.append(Write("journal", row_key(work.job, *key), None))
        if writes and not work.unsettled:
            writes.append(Write("meta", (_row_name(work),), None))
        return [Commit(tuple(writes))] if writes else []

    # --- the grantor comes and goes ----------------------------------------------------------------------------------

    def listens(self, grantor: Contact) -> bool:
        """Whether we have a session with ``grantor``."""
        return grantor.id in self._sessions

    def _heard(self, work: Work) -> bool:
        """Whether every result was told to a grantor that is there and not superseded: it will acknowledge them."""
        heirs = {epoch: work.grantor_in(epoch).id for epoch in {epoch for epoch, _, _ in work.unsettled}}
        return all(e.grantor.id == heirs[key[0]] and self.listens(e.grantor) for key, e in work.unsettled.items())

    def found(self, work: Work, peer: NodeId) -> list[Effect]:
        """A session with ``peer`` is there: it is told every result that is owed to it."""
        effects: list[Effect] = []
        for entry in work.unsettled.values():
            if entry.grantor.id == peer and entry.message is not None:
                effects += _told(work, entry.grantor, entry, entry.message)
        if self._heard(work):
            work.orphaned_at = None
        return effects

    def lost(self, work: Work, now: float) -> None:
        """A grantor's session is lost, or it is superseded: its results go to the stewards unless it comes back."""
        if work.orphaned_at is None and not self._heard(work):
            work.orphaned_since, work.orphan_turn = now, 0
            self._arm(work, now + ORPHANED_AFTER_S)

    def superseded(self, work: Work, epoch: int, now: float) -> list[Effect]:
        """A newer epoch has begun: what nobody acknowledged of what is granted in it is for its grantor, told where
        there is a session."""
        lots, heir = work.authority.lots, work.grantor_in(epoch)
        for key, entry in work.unsettled.items():
            if lots.of_epoch(key[0]) == lots.of_epoch(epoch):
                entry.grantor = heir
        if self.listens(heir):
            return self.found(work, NodeId(heir.id))
        if work.unsettled:
            self.lost(work, now)
        return []

    def _arm(self, work: Work, at: float) -> None:
        work.orphaned_at = at
        self._timer += 1
        heappush(self._timers, (at, self._timer, work))

    def deadline(self) -> float | None:
        """When the next orphan is looked after."""
        while self._timers and self._timers[0][2].orphaned_at != self._timers[0][0]:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def expire(self, now: float) -> tuple[list[Effect], list[Work]]:
        """Offer orphans to whose turn it is; beside it the jobs whose last result was given up."""
        effects: list[Effect] = []
        given_up: list[Work] = []
        while (at := self.deadline()) is not None and at <= now:
            work = heappop(self._timers)[2]
            work.orphaned_at = None
            if not work.unsettled:
                continue
            if now - work.orphaned_since > work.authority.spec.retention_s:
                effects += self.forget(work, list(work.unsettled))
                given_up.append(work)
                continue
            effects += self._turn(work)
            self._arm(work, now + min(ORPHANED_AFTER_S * (1 + work.orphan_turn), ORPHANED_AFTER_S_MAX))
        return effects, given_up

    def _turn(self, work: Work) -> list[Effect]:
        """The grantors' turn is to be dialled (a session brings the results), a steward's to be told them."""
        entries = work.unsettled.values()
        stewards = [s.contact for s in work.authority.spec.stewards if s.contact.id != self._me]
        turn = work.orphan_turn % (1 + len(stewards))
        work.orphan_turn += 1
        if turn == 0:
            away = {entry.grantor.id: entry.grantor for entry in entries if not self.listens(entry.grantor)}
            return [Dial(contact) for contact in away.values()]
        effects: list[Effect] = []
        for entry in entries:
            if entry.message is not None:
                effects += _told(work, stewards[turn - 1], entry, entry.message)
        return effects

    # --- over restarts -----------------------------------------------------------------------------------------------

    def restore(self, work: Work, results: list[tuple[Receipt, Results]], now: float) -> None:
        """Results read from disk, to be offered at once."""
        for said, message in results:
            key = (work.job, said.epoch, said.token, said.part)
            self._hold(work, key, Unsettled(message, (), work.grantor_in(said.epoch)))
        if work.unsettled:
            work.orphaned_since = now
            self._arm(work, now)


def rows_of(
    jobs: Iterable[tuple[str, bytes]], rows: Iterable[tuple[bytes, bytes, bytes, bytes | None]]
) -> list[tuple[Signed, Contact, list[Results]]]:
    """What a worker restores, from ``meta`` rows (name, value) and ``journal`` rows (job, receipt, page, lease).

    Rows of jobs without a ``meta`` row are others' results that this peer keeps as a steward.
    """
    found: dict[bytes, tuple[Signed, Contact, list[Results]]] = {}
    for name, value in jobs:
        if name.startswith(JOB_ROW_PREFIX):
            row = JOB_ROW.decode(value)
            found[bytes.fromhex(name.removeprefix(JOB_ROW_PREFIX))] = (row.spec, row.grantor, [])
    for job, receipt, page, lease in rows:
        if job in found:
            found[job][2].append(results_of(receipt, page, lease))
    return list(found.values())


def results_of(receipt: bytes, page: bytes, lease: bytes | None) -> Results:
    """A result as it was written, to be told again."""
    return Results(pages.SIGNED.decode(receipt), page, False, None if lease is None else pages.SIGNED.decode(lease))


def own(results: list[Results], key: bytes) -> list[tuple[Receipt, Results]]:
    """Those of journalled results that ``key`` signed: a steward keeps others' beside them."""
    return [(read(message.receipt, Receipt), message) for message in results if message.receipt.key == key]


def row_key(job: bytes, epoch: int, token: int, part: int) -> tuple[bytes, int, int]:
    """The key of a result's row."""
    return job, run_number(epoch, token), part


def _told(work: Work, to: Contact, entry: Unsettled, message: Results) -> list[Effect]:
    """A result said to ``to``, its blobs ahead of it."""
    retention_s = work.authority.spec.retention_s
    return [*(TellBlob(to, 0, name, work.job, retention_s) for name in entry.blobs), Tell(to, message)]


def _row_name(work: Work) -> str:
    return JOB_ROW_PREFIX + work.job.hex()


def _job_row(work: Work) -> bytes:
    return JOB_ROW.encode(JobRow(work.authority.signed_spec, work.grantor))


def _cost(entry: Unsettled) -> int:
    return ENTRY_BYTES + (0 if entry.message is None else len(entry.message.page))
