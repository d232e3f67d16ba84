"""The grantor of a job: takes claims, leases batches, accepts results, settles them.

One object a job, at the submitter or at the steward that took the job over. It holds a :class:`Ledger` (which index is where),
a :class:`Participant` for each peer that claimed, the live leases, and a :class:`LogWriter`. What it says to whom are effects;
what it keeps on stewards and storage peers is in ``custody.py``.

::

    claim ──> Participant ──(session)──> grant: Lease(token, spans) ──> Results ──> settle ──> log ──> holders
                   │                          │ silent 30 s, or session lost and probes fail
                   └── dropped <──────────────┘ its indices wait again
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError, ResultRefused
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import events
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.effects import Effect, Notify, Probe, Spread, Tell, TellBlob
from p2pcpn.protocol.ledger import LEASED, Ledger, Span
from p2pcpn.protocol.pace import Pace
from p2pcpn.protocol.settlement import LogWriter, Opened, open_receipt
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, Extend, Grant, Introduce, Output, PageSlice, Progress, Results, Return, Revoke
from p2pcpn.wire.pages import cut, spans_of
from p2pcpn.wire.sealing import JobKeys, output_key, unseal
from p2pcpn.wire.statements import BlobRef, Claim, Lease, Offer, Outcome, Segment, Signed, Spec, read, signed

# Deaths on this many peers make a task poison: its own doing, not a peer's.
POISON_DEATHS = 3
# How long a task that nobody may have waits for new claims before it ends with what befell it.
PATIENCE_S = 1.0
OFFER_WAIT_S = 0.5
OFFER_WAIT_S_MAX = 5.0
OFFER_TTL_S = 10.0
STALL_S = 5.0
SPENT_LEASES_MAX = 1024
TAKEN, STANDBY, UNWANTED, UNKNOWN = range(4)


@dataclass(slots=True)
class Page:
    """A sealed page and what a lease of it needs. ``sealed`` is dropped when all its tasks have ended."""

    segment: int
    first: int
    count: int
    sealed: bytes
    key: bytes
    blobs: list[bytes]
    open: int


@dataclass(slots=True)
class Participant:
    """A peer that claimed: what it holds, how fast it is, and what it was sent already."""

    contact: Contact
    key: bytes
    slots: int
    rank: tuple[float, bytes]
    pace: Pace
    taken: bool = False
    ready: bool = False  # introduced over a live session
    in_doubt: bool = False
    held: int = 0
    completed: int = 0
    tokens: dict[int, None] = field(default_factory=dict)
    segments: set[int] = field(default_factory=set)
    pages: set[int] = field(default_factory=set)
    blobs: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class LeaseHeld:
    """A live lease; ``remaining`` counts what has no result yet."""

    peer: NodeId
    spans: list[Span]
    remaining: int
    until: float


class Grantor:
    """See the module. All times are the caller's ``now``; ``trusted(key, proof)`` is the job's trust rule for workers."""

    def __init__(
        self,
        *,
        job: bytes,
        spec: Signed,
        keys: JobKeys,
        epoch: int,
        me: Keypair,
        contact: Contact,
        trusted: Callable[[bytes, bytes], bool],
        rank: Callable[[Contact, float], tuple[float, bytes]],
        custody: Custody,
        now: float,
        granting: bool = True,
    ) -> None:
        self.job = job
        self.signed_spec = spec
        self.spec = read(spec, Spec)
        self.owner = spec.key
        self.keys = keys
        self.epoch = epoch
        self.me = me
        self.contact = contact
        self.trusted = trusted
        self.rank = rank
        self.custody = custody
        self.granting = granting
        self.ledger = Ledger()
        self.log = LogWriter(job, epoch, me)
        self.participants: dict[NodeId, Participant] = {}
        self.leases: dict[int, LeaseHeld] = {}
        self.spent: OrderedDict[int, LeaseHeld] = OrderedDict()
        self.pages: list[Page] = []
        self._firsts: list[int] = []
        self.segments: dict[int, Signed] = {}
        self.declined: dict[NodeId, str] = {}
        self.total: int | None = None
        self.cancelled = False
        self.conflicts = 0
        self.refused = 0
        self._token = 0
        self._offer_number = 0
        self._offer_at: float | None = None
        self._offer_wait_s = OFFER_WAIT_S
        self._stalled_at: float | None = None
        self._now = now

    # --- what the owner adds -----------------------------------------------------------------------------------

    def extend(self, segment: Signed, sealed: list[bytes], blobs: list[list[bytes]], now: float) -> list[Effect]:
        """A new segment of tasks, its sealed pages, and the blobs each page names."""
        said = read(segment, Segment)
        assert said.first == self.ledger.total and len(sealed) == len(said.pages) == len(blobs)
        self.segments[said.number] = segment
        first = said.first
        for (count, _), data, names in zip(said.pages, sealed, blobs, strict=True):
            self.pages.append(Page(said.number, first, count, data, self.keys.page(first), names, count))
            self._firsts.append(first)
            self.ledger.extend(count)
            first += count
        effects = self.custody.extend(segment, sealed)
        for peer in self.custody.stewards_open:
            self._has_segment(peer, said, sealed)
        return effects + (self._work(now) if self.granting else [])

    def restore(self, segment: Signed, sealed: list[bytes], blobs: list[list[bytes]]) -> None:
        """A segment that the stewards hold already: of a job that this node takes over. :meth:`begin` follows."""
        said = read(segment, Segment)
        self.segments[said.number] = segment
        first = said.first
        for (count, _), data, names in zip(said.pages, sealed, blobs, strict=True):
            self.pages.append(Page(said.number, first, count, data, self.keys.page(first), names, count))
            self._firsts.append(first)
            self.ledger.extend(count)
            first += count

    def begin(self, now: float) -> list[Effect]:
        """Start granting what :meth:`restore` brought."""
        return self._work(now)

    def answered(self, peer: NodeId, message: Answer, now: float) -> list[Effect]:
        """A steward or holder has on disk what it was sent, or refused it."""
        effects = self.custody.answer(peer, message, now)
        return effects + self.custody.report(self, now) if effects or self.finished else effects

    def _has_segment(self, peer: NodeId, said: Segment, sealed: list[bytes]) -> None:
        """A steward was just sent the segment with its pages: as a worker it needs them no more."""
        held = self.participants.get(peer)
        if held is not None:
            held.segments.add(said.number)
            held.pages.update(self._page_firsts(said))

    @staticmethod
    def _page_firsts(said: Segment) -> list[int]:
        firsts, first = [], said.first
        for count, _ in said.pages:
            firsts.append(first)
            first += count
        return firsts

    def close(self, statement: Signed, total: int, now: float) -> list[Effect]:
        """The owner adds no more: ``total`` tasks are all."""
        self.total = total
        return self.custody.finish(statement) + self._log_due(now, force=True) + self._work(now)

    def cancel_job(self, statement: Signed, now: float) -> list[Effect]:
        """The owner ends the job."""
        self.cancelled = True
        effects = self.custody.finish(statement)
        return effects + self.cancel([(0, self.ledger.total)], stop=True, now=now)

    def cancel(self, spans: list[Span], *, stop: bool, now: float) -> list[Effect]:
        """Drop the open ones among ``spans``; where they are leased, revoke them (``stop``: also what runs)."""
        effects: list[Effect] = []
        leased = [i for i in cut(spans) if i < self.ledger.total and self.ledger.states[i] == LEASED]
        self._ended(self.ledger.cancel(spans))
        if leased:
            for token, lease in list(self.leases.items()):
                hit = [i for i in cut(lease.spans) if i in set(leased)]
                if hit:
                    peer = self.participants.get(lease.peer)
                    self._spend(token, len(hit))
                    if peer is not None:
                        effects.append(Tell(peer.contact, Revoke(self.job, spans_of(hit)[: limits.BATCH_TASKS_MAX], stop)))
        return effects + self._work(now)

    # --- claims ------------------------------------------------------------------------------------------------

    def claimed(self, claim: Claim, key: bytes, now: float) -> tuple[int, list[Effect]]:
        """A peer's claim, signature checked. Returns the verdict and what follows from it."""
        if self.finished or not self.granting:
            return UNKNOWN, []
        if claim.job != self.job or claim.epoch != self.epoch or claim.slots == 0:
            raise PeerError("a claim names another epoch, or no slots")
        peer = NodeId(claim.contact.id)
        found = self.participants.get(peer)
        if found is None:
            if len(self.participants) >= limits.SESSIONS_MAX:
                return UNWANTED, []
            found = self.participants[peer] = Participant(
                claim.contact, key, claim.slots, self.rank(claim.contact, claim.rtt_ms), Pace(claim.slots)
            )
            held = self.custody.sent_to(peer)
            if held is not None:
                found.segments.update(held)
                for page in self.pages:
                    if page.segment in held:
                        found.pages.add(page.first)
        self.declined.pop(peer, None)
        effects = self._work(now)
        return (TAKEN if found.taken else STANDBY), effects

    def _promote(self) -> list[Effect]:
        """Take standing-by peers, nearest first, while there is more work than slots."""
        effects: list[Effect] = []
        wanted = self._slots_wanted()
        if wanted <= 0:
            return effects
        for peer in sorted((p for p in self.participants.values() if not p.taken), key=lambda p: p.rank):
            if wanted <= 0:
                break
            slots = min(peer.slots, wanted) if self.spec.max_workers else peer.slots
            peer.slots, peer.pace.slots, peer.taken = slots, slots, True
            wanted -= slots
            effects += self._introduce(peer)
        return effects

    def _slots_wanted(self) -> int:
        taken = sum(p.slots for p in self.participants.values() if p.taken)
        if self.spec.max_workers:
            return min(self.spec.max_workers, self.ledger.waiting + taken) - taken
        return self.ledger.waiting - sum(p.slots for p in self.participants.values() if p.taken and p.held == 0)

    def _introduce(self, peer: Participant) -> list[Effect]:
        """The spec, and the project's code: what a peer needs before its first lease."""
        effects: list[Effect] = []
        peer.ready = True
        if NodeId(peer.contact.id) not in self.custody.stewards_open:
            effects.append(Tell(peer.contact, Introduce(0, self.signed_spec, False)))
        if self.custody.handover is not None:
            effects.append(Tell(peer.contact, self.custody.handover))
        if self.spec.code is not None:
            effects += self._blob(peer, self.spec.code.digest)
        return effects

    def _blob(self, peer: Participant, digest: bytes) -> list[Effect]:
        if digest in peer.blobs:
            return []
        peer.blobs.add(digest)
        if self.custody.has_blob(NodeId(peer.contact.id), digest):
            return []
        return [TellBlob(peer.contact, 0, digest, self.job, self.spec.retention_s)]

    # --- leases ------------------------------------------------------------------------------------------------

    def _work(self, now: float) -> list[Effect]:
        """Take claims, lease what waits to whom it suits, and ask for more claims where they are too few."""
        if self.finished or not self.granting:
            return []
        effects = self._promote()
        while self.ledger.waiting:
            ready = [p for p in self.participants.values() if p.taken and p.ready and not p.in_doubt]
            ready.sort(key=lambda p: (p.held / p.slots, p.rank))
            granted = [effect for peer in ready for effect in self._grant(peer, now)]
            if not granted:
                break
            effects += granted
        return effects + self._offer(now)

    def _grant(self, peer: Participant, now: float) -> list[Effect]:
        """One batch for ``peer``, or nothing when it has enough."""
        node = NodeId(peer.contact.id)
        slots_all = sum(p.slots for p in self.participants.values() if p.taken)
        count = peer.pace.batch(peer.held, self.ledger.waits_for(node), slots_all)
        spans = self.ledger.take(count, node) if count else []
        if not spans:
            return []
        self._token += 1
        token = self._token
        taken = sum(held for _, held in spans)
        self.leases[token] = LeaseHeld(node, spans, taken, now + limits.LEASE_S)
        peer.held += taken
        peer.tokens[token] = None
        effects: list[Effect] = []
        slices = self._slices(spans, peer, effects)
        lease = signed(Lease(self.job, self.epoch, token, node, limits.LEASE_S, spans), self.me)
        key = self.keys.results(self.epoch, self.me.id, token)
        effects.append(Tell(peer.contact, Grant(lease, slices, key, self.keys.digests, self.keys.code, peer.slots)))
        return effects

    def _slices(self, spans: list[Span], peer: Participant, effects: list[Effect]) -> list[PageSlice]:
        """The slices that cover ``spans``; what the peer lacks of segments, pages and blobs goes into ``effects``."""
        slices: list[PageSlice] = []
        missing: dict[int, list[Page]] = {}
        for first, count in spans:
            at = bisect_right(self._firsts, first) - 1
            while count > 0:
                page = self.pages[at]
                low = first - page.first
                taken = min(count, page.count - low)
                slices.append(PageSlice(page.segment, page.first, low, low + taken, page.key))
                if page.first not in peer.pages:
                    peer.pages.add(page.first)
                    missing.setdefault(page.segment, []).append(page)
                for digest in page.blobs:
                    effects += self._blob(peer, digest)
                first, count, at = first + taken, count - taken, at + 1
        for number, lacking in missing.items():
            segment = self.segments[number]
            wanted = {page.first: page.sealed for page in lacking}
            data = [wanted.get(page_first, b"") for page_first in self._page_firsts(read(segment, Segment))]
            effects.append(Tell(peer.contact, Extend(0, segment, data, False)))
        return slices

    def _spend(self, token: int, count: int) -> None:
        """``count`` tasks of a live lease have ended; the lease ends with its last one."""
        lease = self.leases[token]
        lease.remaining -= count
        peer = self.participants.get(lease.peer)
        if peer is not None:
            peer.held -= count
        if lease.remaining <= 0:
            self._drop(token)

    def _drop(self, token: int) -> None:
        lease = self.leases.pop(token)
        peer = self.participants.get(lease.peer)
        if peer is not None:
            peer.tokens.pop(token, None)
            peer.held -= max(lease.remaining, 0)
        self.spent[token] = lease
        while len(self.spent) > SPENT_LEASES_MAX:
            self.spent.popitem(last=False)

    def _expire_lease(self, token: int, now: float, why: str) -> list[Effect]:
        """A lease ends unfulfilled: its tasks wait again, each one loss richer."""
        lease = self.leases[token]
        over: list[int] = []
        lost = [i for i in cut(lease.spans) if self.ledger.states[i] == LEASED]
        self._drop(token)
        self.ledger.give_back(lease.spans)
        for index in lost:
            trouble = self.ledger.trouble(index, now)
            trouble.losses += 1
            if trouble.losses > self.spec.retries:
                over.append(index)
        if not over:
            return []
        self._ended(self.ledger.fail([(i, 1) for i in over]))
        text = f"its peer was lost {self.spec.retries + 1} times ({why}); see retries="
        return [Notify(events.GaveUp(self.job, over, text))]

    # --- what workers say --------------------------------------------------------------------------------------

    def results(self, sender: Contact, message: Results, now: float) -> list[Effect]:
        """A receipt and its page. Raises :class:`PeerError` when anything in it is not what was leased or signed."""
        try:
            opened = open_receipt(message.receipt, message.page, self.keys, self.job, self.trusted)
        except ResultRefused as error:
            self.refused += 1
            raise PeerError(str(error)) from error
        said = opened.receipt
        if said.epoch != self.epoch or said.grantor != self.me.id:
            raise PeerError("results of another epoch or grantor")
        live = self.leases.get(said.token)
        lease = live or self.spent.get(said.token)
        if lease is None or lease.peer != sender.id or not _within(said.spans, lease.spans):
            raise PeerError("results for tasks that were not leased to this peer")
        peer = self.participants.get(lease.peer)
        if peer is not None and opened.worker != peer.key:
            raise PeerError("a receipt is signed by another key than the claim's")
        if live is not None:
            live.until = now + limits.LEASE_S
        if peer is not None:
            peer.pace.ran(len(opened.indices), said.ran_s)
            peer.completed += len(opened.indices)
        effects = self._accept(opened, message, live is not None, now)
        if message.last and said.token in self.leases and self.leases[said.token].remaining > 0:
            effects += self._expire_lease(said.token, now, "it returned less than it was leased")
        return effects + self._log_due(now) + self._work(now)

    def _accept(self, opened: Opened, message: Results, live: bool, now: float) -> list[Effect]:
        """Settle what is open of these results; deaths wait for another peer or become poison."""
        said, effects = opened.receipt, []
        spans: list[Span] = [(first, count) for first, count in said.spans]
        keep = spans
        if Outcome.DIED in said.outcomes:
            dead = [i for i, outcome in zip(opened.indices, said.outcomes, strict=True) if outcome == Outcome.DIED]
            final = self._died(opened, dead, now)
            again = [i for i in dead if i not in final]
            keep = spans_of([i for i in opened.indices if i not in set(again)])
            if live and again:
                self._give_back(said.token, spans_of(again))
        if not live:
            # Fenced: where a newer lease holds an index, an old token settles nothing.
            keep = spans_of([i for i in cut(keep) if self.ledger.states[i] != LEASED])
        ended = self.ledger.settle(keep)
        count = sum(held for _, held in ended)
        if live and said.token in self.leases and count:
            self._spend(said.token, count)
        self._ended(ended)
        if count:
            whole = ended == spans
            self.log.append(message.receipt, message.page, ended, whole=whole, now=now)
            worker = self.participants.get(self.spent_or_live(said.token).peer)
            if worker is not None:
                self.custody.journalled(worker.contact, said.token, said.part)
            effects.append(Notify(self._delivery(opened, ended, whole)))
        else:
            self.conflicts += 1
        return list(effects)

    def spent_or_live(self, token: int) -> LeaseHeld:
        """The lease of ``token``, live or spent."""
        return self.leases.get(token) or self.spent[token]

    def _delivery(self, opened: Opened, ended: list[Span], whole: bool) -> events.Delivered:
        said = opened.receipt
        worker = NodeId(self.spent_or_live(said.token).peer)
        if whole:
            return events.Delivered(
                self.job, opened.indices, said.outcomes, opened.values, worker, opened.page.output
            )
        kept = set(cut(ended))
        at = [position for position, index in enumerate(opened.indices) if index in kept]
        return events.Delivered(
            self.job,
            [opened.indices[position] for position in at],
            bytes(said.outcomes[position] for position in at),
            [opened.values[position] for position in at],
            worker,
            [line for line in opened.page.output if line.index in kept],
        )

    def _died(self, opened: Opened, dead: list[int], now: float) -> set[int]:
        """Note who died where; returns the indices for which this death is the last word."""
        final: set[int] = set()
        node = self.spent_or_live(opened.receipt.token).peer
        at = {index: position for position, index in enumerate(opened.indices)}
        for index in dead:
            value = opened.values[at[index]]
            death = pages.DEATH.decode(value if isinstance(value, bytes) else b"")
            trouble = self.ledger.trouble(index, now)
            trouble.deaths[node] = (death.signal, death.exit_code)
            trouble.excluded.add(node)
            trouble.since = now
            others = [p for p in self.participants if p not in trouble.excluded]
            if len(trouble.deaths) >= POISON_DEATHS or not others:
                final.add(index)
        return final

    def _give_back(self, token: int, spans: list[Span]) -> None:
        back = self.ledger.give_back(spans)
        if back and token in self.leases:
            self._spend(token, back)

    def progress(self, sender: Contact, message: Progress, now: float) -> list[Effect]:
        """A lease is alive; these of its tasks run."""
        lease = self.leases.get(message.token)
        if lease is None or lease.peer != sender.id:
            return []
        lease.until = now + limits.LEASE_S
        started = [i for i in message.started if _holds(lease.spans, i) and self.ledger.states[i] == LEASED]
        return [Notify(events.Started(self.job, started))] if started else []

    def returned(self, sender: Contact, message: Return, now: float) -> list[Effect]:
        """A peer gives tasks back unrun. Declined ones never go to it again."""
        lease = self.leases.get(message.token)
        if lease is None or lease.peer != sender.id or not _within(message.spans, lease.spans):
            return []
        peer = self.participants[lease.peer]
        spans = [(first, count) for first, count in message.spans]
        if message.code == "missing":  # it forgot pages that we believe it holds: send them again
            peer.pages.clear()
            peer.blobs.clear()
        self._give_back(message.token, spans)
        if message.code == "declined":
            self.declined[lease.peer] = message.text
            for index in cut(spans):
                self.ledger.trouble(index, now).excluded.add(lease.peer)
            self._stalled_at = self._stalled_at or now + STALL_S
        if message.code == "leaving":
            self._forget(lease.peer)
        return self._work(now)

    def output(self, sender: Contact, message: Output, now: float) -> list[Effect]:
        """Lines of a running task, for the program that submitted it."""
        lease = self.leases.get(message.token)
        if lease is None or lease.peer != sender.id:
            return []
        key = output_key(self.keys.results(self.epoch, self.me.id, message.token))
        line = pages.PRINT.decode(unseal(key, message.number, message.sealed))
        if not _holds(lease.spans, line.index):
            raise PeerError("output of a task that was not leased to this peer")
        lease.until = now + limits.LEASE_S
        return [Notify(events.Printed(self.job, line.index, line.stream, line.data, sender.id))]

    # --- peers come and go -------------------------------------------------------------------------------------

    def session_opened(self, peer: NodeId, now: float) -> list[Effect]:
        """A session with a participant is there (again): it is introduced again, for it may have restarted."""
        found = self.participants.get(peer)
        if found is None or not found.in_doubt:
            return []
        return self.peer_alive(peer, now)

    def session_closed(self, peer: NodeId, now: float) -> list[Effect]:
        """The session is lost: nothing more is leased to it until we know whether the peer lives."""
        effects = self.custody.session_closed(peer)
        found = self.participants.get(peer)
        if found is None:
            return effects
        # Whatever it was sent may not have arrived, and a restarted peer remembers none of it.
        found.segments.clear()
        found.pages.clear()
        found.blobs.clear()
        if not found.tokens:
            self._forget(peer)
            return effects + self._work(now)
        found.in_doubt = True
        return effects or [Probe(found.contact)]

    def peer_dead(self, peer: NodeId, now: float) -> list[Effect]:
        """Probes failed: its leases end now, not in 30 seconds."""
        effects = self.custody.peer_dead(peer, now)
        found = self.participants.get(peer)
        if found is not None:
            for token in list(found.tokens):
                effects += self._expire_lease(token, now, f"peer {peer.hex()[:8]} died")
            self._forget(peer)
        return effects + self._work(now)

    def peer_alive(self, peer: NodeId, now: float) -> list[Effect]:
        """Only the session was lost: make a new one and go on."""
        effects = self.custody.peer_alive(peer)
        found = self.participants.get(peer)
        if found is not None and found.in_doubt:
            found.in_doubt = False
            effects += self._introduce(found)
        return effects + self._work(now)

    def _forget(self, peer: NodeId) -> None:
        found = self.participants.pop(peer, None)
        if found is not None:
            for token in list(found.tokens):
                lease = self.leases.pop(token)
                self.ledger.give_back(lease.spans)
                self.spent[token] = lease

    # --- time --------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Nothing is left to grant: cancelled, or closed and every index ended."""
        return self.cancelled or (self.total is not None and self.ledger.total >= self.total and not self.ledger.open)

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        times = [lease.until for lease in self.leases.values()]
        patience = [t.since + PATIENCE_S for i, t in self.ledger.troubles.items() if i in self.ledger.troubled_waiting]
        for time in (self._offer_at, self.log.deadline(), self._stalled_at, self.custody.deadline(), *patience):
            if time is not None:
                times.append(time)
        return min(times, default=None)

    def expire(self, now: float) -> list[Effect]:
        """Act on every deadline that has passed."""
        effects: list[Effect] = []
        for token in [token for token, lease in self.leases.items() if lease.until <= now]:
            effects += self._expire_lease(token, now, "no sign of life for 30 s")
        effects += self._lose_patience(now) + self._stall(now)
        effects += self._log_due(now) + self.custody.expire(now, self.log)
        if self._offer_at is not None and now >= self._offer_at:
            self._offer_at = None
        return effects + self._work(now)

    def _lose_patience(self, now: float) -> list[Effect]:
        """Tasks that died wherever they ran, and that nobody else came for, end with how they died."""
        over: list[int] = []
        for index in list(self.ledger.troubled_waiting):
            trouble = self.ledger.troubles[index]
            if now < trouble.since + PATIENCE_S:
                continue
            if any(p not in trouble.excluded for p in self.participants) or not trouble.deaths:
                trouble.since = now  # somebody may still run it (or it was only declined): go on waiting
                continue
            over.append(index)
        effects: list[Effect] = []
        for index in over:
            signal, code = next(reversed(self.ledger.troubles[index].deaths.values()))
            text = pages.death_text(signal, code)
            self._ended(self.ledger.fail([(index, 1)]))
            effects.append(Notify(events.GaveUp(self.job, [index], text, True, signal, code)))
        return effects

    def _stall(self, now: float) -> list[Effect]:
        if self._stalled_at is None or now < self._stalled_at:
            return []
        self._stalled_at = None
        if not self.ledger.waiting or not self.declined or self.leases:
            return []
        return [Notify(events.Stalled(self.job, tuple(sorted(self.declined.items()))))]

    def _offer(self, now: float) -> list[Effect]:
        """Gossip an offer when more slots are wanted than claimed; wider, and less often, while nobody answers."""
        wanted = self._slots_wanted()
        if wanted <= 0 and not self.ledger.troubled_waiting:
            self._offer_at, self._offer_wait_s = None, OFFER_WAIT_S
            return []
        if self._offer_at is not None:
            return []
        self._offer_number += 1
        ring = self._offer_number
        offer = Offer(
            self.job, self.owner, self.epoch, self.contact, self._offer_number, self.spec.runtime, self.spec.python,
            list(self.spec.requires), self.spec.memory_bytes, self.ledger.waiting, max(wanted, 1), OFFER_TTL_S,
        )  # fmt: skip
        self._offer_at = now + self._offer_wait_s
        self._offer_wait_s = min(self._offer_wait_s * 1.5, OFFER_WAIT_S_MAX)
        return [Spread(offer, min(1 + ring, 8))]

    def _log_due(self, now: float, *, force: bool = False) -> list[Effect]:
        """Close a log segment when it is time, and give it to the holders."""
        effects: list[Effect] = []
        last = self.finished and not self.log.empty
        if self.log.due(now) or ((force or last) and not self.log.empty):
            effects += self.custody.append(self.log.close(), now)
        return effects + self.custody.report(self, now)

    def _ended(self, spans: list[Span]) -> None:
        """Pages whose tasks have all ended are forgotten: nothing refers to a finished task's arguments."""
        for first, count in spans:
            at = bisect_right(self._firsts, first) - 1
            while count > 0:
                page = self.pages[at]
                taken = min(count, page.first + page.count - first)
                page.open -= taken
                if page.open == 0:
                    page.sealed = b""
                first, count, at = first + taken, count - taken, at + 1


def _within(spans: list[tuple[int, int]], lease: list[Span]) -> bool:
    """Whether every one of ``spans`` lies within a span of the lease."""
    return all(
        count > 0 and any(first >= held_first and first + count <= held_first + held for held_first, held in lease)
        for first, count in spans
    )


def _holds(spans: list[Span], index: int) -> bool:
    return any(first <= index < first + count for first, count in spans)


def blobs_of(key: bytes, sealed: bytes) -> list[bytes]:
    """The blobs that a sealed page names: for a grantor that did not make the page."""
    page = pages.TASKS.decode(unseal(key, 0, sealed))
    return [ref.digest for ref in [*page.functions, *page.arguments] if isinstance(ref, BlobRef)]
