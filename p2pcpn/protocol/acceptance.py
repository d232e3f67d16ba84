"""Acceptance: what a receipt settles, whom a death excludes, and when the log is closed.

A receipt is checked whole before anything follows from it. It settles what its lease still owes, and what waits again
after the lease ended; where a newer lease holds an index the old token is fenced. Whoever ran it is told that it may
forget the results only when they lie on enough holders, or are of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pcpn.errors import PeerError, ResultRefused
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol import events
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.effects import Effect, Notify, Tell
from p2pcpn.protocol.leases import LeaseHeld
from p2pcpn.protocol.ledger import Death
from p2pcpn.protocol.orphans import require_leased
from p2pcpn.protocol.settlement import LogWriter, Opened, open_receipt
from p2pcpn.protocol.spans import Span, covers, joined, overlap, total, without
from p2pcpn.protocol.witness import Witness
from p2pcpn.protocol.work import TOKEN_BITS, run_number
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Results, Revoke, Settlement
from p2pcpn.wire.pages import Entry, cut
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES, JobKeys
from p2pcpn.wire.statements import BlobRef, Outcome, Receipt, read

# Deaths on this many peers make a task poison: its own doing, not a peer's.
POISON_DEATHS = 3
_DIGEST = RESULT_DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Admitted:
    """A receipt in which everything is right, and the lease it is under."""

    opened: Opened
    token: int
    lease: LeaseHeld
    deaths: dict[int, Death]


class Acceptance:
    """See the module. ``grants(key, epoch)`` tells whether a node may grant the job then.

    ``conflicts`` counts receipts that settled nothing, ``refused`` those of peers nobody trusts, or under leases that
    nobody shows.
    """

    def __init__(
        self,
        *,
        job: bytes,
        epoch: int,
        me: NodeId,
        keys: JobKeys,
        trusted: Callable[[bytes, bytes], bool],
        book: Book,
        log: LogWriter,
        custody: Custody,
        grants: Callable[[bytes, int], bool],
        witness: Witness | None = None,
    ) -> None:
        self._grants = grants
        self._job = job
        self._epoch = epoch
        self._me = me
        self._keys = keys
        self._trusted = trusted
        self._book = book
        self._log = log
        self._custody = custody
        self._witness = witness
        self.conflicts = 0
        self.refused = 0

    def admit(self, sender: Contact, message: Results) -> Admitted | None:
        """Check a receipt; none where its lease is long forgotten, so that everything of it was settled or run again.

        Raises :class:`PeerError` when anything in it is not what was leased or signed; nothing of it was acted on then.
        """
        try:
            opened = open_receipt(message.receipt, message.page, self._keys, self._job, self._trusted)
        except ResultRefused as error:
            self.refused += 1
            raise PeerError(str(error)) from error
        said = opened.receipt
        if said.epoch != self._epoch or said.grantor != self._me:
            raise PeerError("results of another epoch or grantor")
        if node_id(opened.worker) != sender.id:
            raise PeerError("a receipt is signed by another key than its sender's")
        leases = self._book.leases
        lease = leases.known(said.token)
        if lease is None:
            if not 0 < said.token <= leases.granted:
                raise PeerError("results under a lease that was never granted")
            if Outcome.DIED not in said.outcomes:
                self._book.blame.succeeded(NodeId(sender.id))
            return None
        if lease.peer != sender.id or not covers(lease.spans, said.spans):
            raise PeerError("results for tasks that were not leased to this peer")
        return Admitted(opened, said.token, lease, _deaths(opened))

    def open(self, entry: Entry) -> Opened:
        """A settlement that was read. Raises :class:`PeerError` and :class:`ResultRefused`."""
        return open_receipt(entry.receipt, entry.page, self._keys, self._job, self._trusted)

    def accept(self, admitted: Admitted, message: Results, sender: Contact, now: float) -> list[Effect]:
        """Settle what the receipt may settle; deaths wait for another peer or are poison."""
        opened, lease, token = admitted.opened, admitted.lease, admitted.token
        said, book = opened.receipt, self._book
        spans = self._free(admitted)
        if admitted.deaths and spans:
            again = self._died(admitted, spans, now)
            spans = joined(overlap(spans, without(joined(spans), again))) if again else spans
        effects: list[Effect] = []
        blobs = [value.digest for value in opened.values if isinstance(value, BlobRef)]
        if spans and not self._log.room(len(message.page), len(spans), len(blobs)):
            effects += self.flush(now)
        settled, outrun = book.settle(lease, token, spans)
        book.ledger.release(book.dependencies.settled(opened, settled))
        count = total(settled)
        if not admitted.deaths:
            book.blame.succeeded(lease.peer)
        if self._witness is not None:
            self._witness.accepted(said, lease.peer, settled)
        if not count:
            self.conflicts += 1
            return effects + self._acknowledge(sender, said)
        if not admitted.deaths:
            book.budget.ended(count, now)
        for lost in outrun:
            book.speeds.at_least(lost.peer.node, now - lost.since)
            if book.blame.closed(lost.peer.node):  # else it shall show whether anything succeeds there, however late
                effects.append(Tell(lost.peer.contact, Revoke(self._job, lost.spans, True)))
        whole = count == len(opened.indices)
        self._log.append(message.receipt, message.page, settled, whole=whole, now=now, blobs=blobs)
        self._custody.journalled(sender, run_number(said.epoch, token), said.part)
        peer = book.participants.peers.get(lease.peer)
        if peer is not None:
            peer.completed += count
            peer.missing = 0
        entry = Entry(message.receipt, message.page, None if whole else settled)
        delivered = self._delivery(opened, settled, whole, lease.peer, entry)
        if lease.hedge:  # what it printed was not told while it raced
            effects += [
                Notify(events.Printed(self._job, line.index, line.stream, line.data, lease.peer))
                for line in delivered.output
            ]
        return [*effects, Notify(delivered)]

    def blobs_of(self, message: Results) -> list[bytes]:
        """The blobs that results name, which are checked first. Raises :class:`PeerError`."""
        try:
            opened = self.open(Entry(message.receipt, message.page, None))
        except ResultRefused as error:
            self.refused += 1
            raise PeerError(str(error)) from error
        return [value.digest for value in opened.values if isinstance(value, BlobRef)]

    def adopt(self, worker: Contact | None, message: Results, now: float) -> list[Effect]:
        """Results under a lease of an older epoch settle what waits here, and nothing that we leased since.

        The lease says what was given to whom: who knows the key of one could state any task that waits. Where none
        comes along, or that of a node which may not have granted then as far as we know, its worker keeps the results.
        ``worker`` is told when they are safe; none where a steward has told it so. Raises :class:`PeerError` as
        :meth:`admit` does.
        """
        try:
            opened = open_receipt(message.receipt, message.page, self._keys, self._job, self._trusted)
        except ResultRefused as error:
            self.refused += 1
            raise PeerError(str(error)) from error
        said = opened.receipt
        if said.epoch >= self._epoch or said.token >> TOKEN_BITS:
            raise PeerError("results under a lease that no earlier grantor can have given")
        if worker is not None and node_id(opened.worker) != worker.id:
            raise PeerError("a receipt is signed by another key than its sender's")
        if message.lease is None or not self._grants(message.lease.key, said.epoch):
            self.refused += 1
            return []
        require_leased(message.lease, opened.worker, said)
        # Where somebody died is for its own grantor to count; what took a result that lost is run again.
        unwanted = {*_deaths(opened), *self._book.dependencies.contradicted(said)}
        spans = without(joined([(first, count) for first, count in said.spans]), [(it, 1) for it in sorted(unwanted)])
        blobs = [value.digest for value in opened.values if isinstance(value, BlobRef)]
        effects: list[Effect] = []
        if not self._log.room(len(message.page), len(spans), len(blobs)):
            effects += self.flush(now)
        settled = self._book.settle_waiting(spans)
        self._book.ledger.release(self._book.dependencies.settled(opened, settled))
        if not settled:
            self.conflicts += 1
            return effects if worker is None else effects + self._acknowledge(worker, said)
        whole = total(settled) == len(opened.indices)
        if self._witness is not None:
            self._witness.inherited(said, node_id(opened.worker), settled)
        self._log.append(message.receipt, message.page, settled, whole=whole, now=now, blobs=blobs)
        if worker is not None:
            self._custody.journalled(worker, run_number(said.epoch, said.token), said.part)
        entry = Entry(message.receipt, message.page, None if whole else settled)
        effects.append(Notify(self._delivery(opened, settled, whole, node_id(opened.worker), entry)))
        return effects

    def told(self, message: Settlement) -> list[Effect]:
        """The grantor of a lot settled what it says, of a job that this node submitted.

        What was told before is told no more: a future resolves once. Raises :class:`PeerError` as :meth:`admit` does.
        """
        try:
            opened = open_receipt(message.receipt, message.page, self._keys, self._job, self._trusted)
        except ResultRefused as error:
            self.refused += 1
            raise PeerError(str(error)) from error
        stated = joined([(first, count) for first, count in opened.receipt.spans])
        spans = stated if message.spans is None else joined([(first, count) for first, count in message.spans])
        if not covers(stated, spans):
            raise PeerError("a peer says that a receipt settles what it does not state")
        settled = self._book.settled_there(spans)
        if not settled:
            return []
        delivered = self._delivery(opened, settled, total(settled) == len(opened.indices), node_id(opened.worker))
        worker = delivered.worker
        printed = (events.Printed(self._job, each.index, each.stream, each.data, worker) for each in delivered.output)
        return [*map(Notify, printed), Notify(delivered)]

    def forgotten(self, sender: Contact, message: Results) -> list[Effect]:
        """A receipt under a lease that nobody remembers: all its tasks have ended or run under newer leases."""
        self.conflicts += 1
        said = read(message.receipt, Receipt)
        if self._witness is not None:
            self._witness.accepted(said, sender.id, [])
        return self._acknowledge(sender, said)

    def _acknowledge(self, worker: Contact, said: Receipt) -> list[Effect]:
        number = run_number(said.epoch, said.token)
        return self._custody.acknowledge(worker, number, said.part, writing=not self._log.empty)

    def _free(self, admitted: Admitted) -> list[Span]:
        """What a receipt may settle: what its lease still owes, and what waits."""
        spans = [(first, count) for first, count in admitted.opened.receipt.spans]
        if admitted.token not in self._book.leases.live:
            return self._book.ledger.unleased_of(spans)
        owed = admitted.lease.open
        if covers(owed, spans):
            return spans
        return overlap(spans, owed) + self._book.ledger.unleased_of(spans)

    def _died(self, admitted: Admitted, spans: list[Span], now: float) -> list[Span]:
        """Note who died where; returns the indices that wait for another peer."""
        book = self._book
        again: list[Span] = []
        for index in [index for index in cut(spans) if index in admitted.deaths]:
            peers = book.ledger.died(index, admitted.lease.peer, admitted.deaths[index], now)
            if peers < POISON_DEATHS:
                again.append((index, 1))
                book.retry(admitted.token, [(index, 1)], peers, now)
            book.blame.died(index, admitted.lease.peer, _how(admitted.deaths[index]), now)
        return again

    def _delivery(
        self, opened: Opened, settled: list[Span], whole: bool, worker: NodeId, entry: Entry | None = None
    ) -> events.Delivered:
        said, output, shown = opened.receipt, opened.page.output, opened.page.renderings
        if len(shown) != len(opened.indices):
            shown = []
        if whole and not output:
            return events.Delivered(
                self._job, opened.indices, said.outcomes, opened.values, worker, output, shown, said.digests, entry
            )
        kept = set(cut(settled))
        at = [position for position, index in enumerate(opened.indices) if index in kept]
        return events.Delivered(
            self._job,
            [opened.indices[position] for position in at],
            bytes(said.outcomes[position] for position in at),
            [opened.values[position] for position in at],
            worker,
            [line for line in output if line.index in kept],
            [shown[position] for position in at] if shown else [],
            b"".join(said.digests[position * _DIGEST : (position + 1) * _DIGEST] for position in at),
            entry,
        )

    def flush(self, now: float) -> list[Effect]:
        """Close the log segment and give it to the holders."""
        if self._log.empty:
            return []
        segment = self._log.close()
        if self._witness is not None:
            self._witness.signed(segment.number, segment.header, segment.body)
        return self._custody.append(segment, now)


def _how(death: Death) -> str:
    return f"its worker process died: {pages.death_text(*death)}"


def _deaths(opened: Opened) -> dict[int, Death]:
    if Outcome.DIED not in opened.receipt.outcomes:
        return {}
    deaths: dict[int, Death] = {}
    for index, outcome, value in zip(opened.indices, opened.receipt.outcomes, opened.values, strict=True):
        if outcome == Outcome.DIED:
            death = pages.DEATH.decode(value if isinstance(value, bytes) else b"")
            deaths[index] = (death.signal, death.exit_code)
    return deaths
