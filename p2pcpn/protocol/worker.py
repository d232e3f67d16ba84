"""The worker's side of jobs: leases come in, batches go to worker processes, receipts go out.

Per job one :class:`Work` holds the checked spec, segments and pages; per lease one :class:`LeaseTaken`. Batches are handed to
the runtime a few milliseconds of work at a time, so that long tasks never queue behind each other while a slot idles. What
has not been acknowledged as settled is journalled and offered again: to the grantor, then to the stewards in order.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.protocol.admission import Rules, reason_against, reason_packages
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Commit, Effect, KeepBlob, Run, StopRun, Tell, TellBlob, Write
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Extend, Grant, Output, PageSlice, Progress, Results, Return, Revoke, Settled
from p2pcpn.wire.pages import Death, Print, ResultPage, TaskPage
from p2pcpn.wire.sealing import derive, digest, output_key, result_digest, seal, swarm_proof, unseal
from p2pcpn.wire.statements import BlobRef, Lease, Outcome, Receipt, Segment, Signed, opened, signed

# What is handed to a worker process at a time: enough to hide the hand-over, little enough to spread.
HAND_OVER_S = 0.005
# Below this task length a second batch waits at each worker process, so that it never idles between two.
DOUBLE_BELOW_S = 0.002
STARTED_AFTER_S = 0.05
PAGES_BYTES_PER_JOB = 64 << 20
ORPHANED_AFTER_S = 3.0
IDLE_JOB_S = 600.0


@dataclass(slots=True)
class Piece:
    """Consecutive tasks of one page under one lease, ready to run."""

    token: int
    first: int
    functions: tuple[bytes | BlobRef, ...]
    numbers: tuple[int, ...] | None
    arguments: tuple[bytes | BlobRef, ...]


@dataclass(slots=True)
class LeaseTaken:
    """A lease this peer holds. ``remaining`` counts tasks without a result."""

    token: int
    epoch: int
    remaining: int
    result_key: bytes
    digest_key: bytes
    code_key: bytes
    renew_at: float
    parts: int = 0
    outputs: int = 0


@dataclass(slots=True)
class Batch:
    """A batch in a worker process."""

    work: Work
    token: int
    first: int
    count: int
    since: float
    told: int = -1  # the position last reported as started


@dataclass(slots=True)
class Work:
    """One job at this peer."""

    authority: Authority
    grantor: Contact
    grantor_key: bytes
    refused: str | None
    used_at: float
    segments: dict[int, Segment] = field(default_factory=dict)
    digests: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)  # page first -> (segment, count, digest)
    pages: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    pages_bytes: int = 0
    leases: dict[int, LeaseTaken] = field(default_factory=dict)
    queue: deque[Piece] = field(default_factory=deque)
    queued: int = 0
    running: int = 0  # batches in worker processes
    slots: int = 1
    task_s: float | None = None
    unsettled: dict[tuple[int, int], Results] = field(default_factory=dict)
    orphaned_at: float | None = None
    orphan_turn: int = 0


class Worker:
    """See the module. ``running()`` tells, per batch, the position that its worker process is at."""

    def __init__(
        self, *, me: Keypair, rules: Rules, slots: int, running: Callable[[], dict[int, int]]
    ) -> None:
        self.me = me
        self.rules = rules
        self.slots = slots
        self.running_positions = running
        self.works: OrderedDict[bytes, Work] = OrderedDict()
        self.batches: dict[int, Batch] = {}
        self.declines: list[tuple[bytes, str]] = []  # for Offers.decline, drained by peer.py
        self.leaving = False
        self.completed = 0
        self._batch = 0
        self._proof = swarm_proof(rules.swarm_key, me.public)
        self._tick_at: float | None = None

    # --- what the grantor says -----------------------------------------------------------------------------------

    def introduced(self, sender: Contact, key: bytes, spec: Signed, now: float) -> list[Effect]:
        """A job that wants us. Raises :class:`PeerError` when the spec is not signed as it says."""
        authority = Authority(spec)
        known = self.works.get(authority.job)
        if known is not None:
            if authority.grants(key, 0) or known.authority.grants(key, self._epoch(known)):
                known.grantor, known.grantor_key = sender, key
            return []
        said = authority.spec
        why = reason_against(
            self.rules, owner=authority.owner, proof=said.swarm_proof, runtime=said.runtime, python=said.python,
            requires=tuple(said.requires), memory=said.memory_bytes,
        )  # fmt: skip
        if len(self.works) >= limits.JOBS_PER_PEER_MAX:
            self._forget_idle()
        self.works[authority.job] = Work(authority, sender, key, why, now)
        return []

    @staticmethod
    def _epoch(work: Work) -> int:
        return 0 if work.authority.handover is None else work.authority.handover.epoch

    def taken(self, sender: Contact, key: bytes, handover: Signed, job: bytes) -> None:
        """The owner made another peer the grantor."""
        work = self.works.get(job)
        if work is None:
            return
        work.authority.hand_over(handover)
        if work.authority.grants(key, self._epoch(work)):
            work.grantor, work.grantor_key = sender, key

    def extended(self, message: Extend, now: float) -> None:
        """A segment's header and some of its pages. Raises :class:`PeerError` unless the owner signed for them."""
        said = opened(message.segment, Segment)
        work = self.works.get(said.job)
        if work is None:
            return
        work.authority.require_owner(message.segment)
        if said.number not in work.segments:
            first = said.first
            for count, name in said.pages:
                work.digests[first] = (said.number, count, name)
                first += count
            work.segments[said.number] = said
        if len(message.pages) != len(said.pages):
            raise PeerError("a segment came with another number of pages than it signs for")
        first = said.first
        for (count, name), sealed in zip(said.pages, message.pages, strict=True):
            if sealed and first not in work.pages:
                if digest(sealed) != name:
                    raise PeerError("a page is not the one its segment signs for")
                work.pages[first] = sealed
                work.pages_bytes += len(sealed)
            first += count
        while work.pages_bytes > PAGES_BYTES_PER_JOB and len(work.pages) > 1:
            _, old = work.pages.popitem(last=False)
            work.pages_bytes -= len(old)

    def granted(self, sender: Contact, key: bytes, message: Grant, now: float) -> list[Effect]:
        """A lease. What cannot be run is returned with the reason; the rest is queued and started."""
        said = opened(message.lease, Lease)
        work = self.works.get(said.job)
        if work is None:
            return [Tell(sender, Return(said.job, said.token, said.spans, "missing", "knows no such job"))]
        if message.lease.key != key or not work.authority.grants(key, said.epoch) or said.worker != self.me.id:
            raise PeerError("a lease is signed by a peer that does not grant this job, or is another's")
        if said.token in work.leases:
            return []
        count = sum(held for _, held in said.spans)
        if sum(s.high - s.low for s in message.slices) != count or count > limits.BATCH_TASKS_MAX:
            raise PeerError("a lease's slices do not cover its spans")
        work.grantor, work.grantor_key, work.used_at, work.orphaned_at = sender, key, now, None
        back = self._why_not(work, message.slices)
        if back is not None:
            return [Tell(sender, Return(said.job, said.token, said.spans, *back))]
        pieces = [self._piece(work, said.token, s) for s in message.slices]
        work.leases[said.token] = LeaseTaken(
            said.token, said.epoch, count, message.result_key, message.digest_key, message.code_key, now + limits.RENEW_S
        )
        work.slots = max(1, min(message.slots, self.slots))
        work.queue.extend(pieces)
        work.queued += count
        return self._start(now)

    def _why_not(self, work: Work, slices: list[PageSlice]) -> tuple[str, str] | None:
        """(code, words) when a lease of these slices cannot be run here."""
        if self.leaving:
            return "leaving", "is leaving the swarm"
        if work.refused is not None:
            return "declined", work.refused
        for part in slices:
            known = work.digests.get(part.first)
            if known is None or part.first not in work.pages:
                return "missing", "lacks a page of the lease"
            if known[0] != part.segment or not part.low < part.high <= known[1]:
                raise PeerError("a lease names tasks that no segment holds")
            why = reason_packages(self.rules, tuple(work.segments[known[0]].requires))
            if why is not None:
                self.declines.append((work.authority.job, why))
                return "declined", why
        return None

    def _piece(self, work: Work, token: int, part: PageSlice) -> Piece:
        page: TaskPage = pages.TASKS.decode(unseal(part.key, 0, work.pages[part.first]))
        total = work.digests[part.first][1]
        numbers = page.numbers
        if len(page.arguments) != total or (numbers is not None and len(numbers) != total) or not page.functions:
            raise PeerError("a page holds another number of tasks than its segment signs for")
        if numbers is not None and max(numbers) >= len(page.functions):
            raise PeerError("a page names a function that it does not hold")
        return Piece(
            token,
            part.first + part.low,
            tuple(page.functions),
            None if numbers is None else tuple(numbers[part.low : part.high]),
            tuple(page.arguments[part.low : part.high]),
        )

    def revoked(self, sender: Contact, message: Revoke, now: float) -> list[Effect]:
        """The grantor takes tasks back: unstarted ones are dropped, running ones stopped where it says so."""
        work = self.works.get(message.job)
        if work is None or work.grantor.id != sender.id:
            return []
        gone = set(pages.cut([(first, min(count, limits.BATCH_TASKS_MAX)) for first, count in message.spans]))
        kept: deque[Piece] = deque()
        for piece in work.queue:
            at = [i for i in range(len(piece.arguments)) if piece.first + i not in gone]
            if len(at) == len(piece.arguments):
                kept.append(piece)
                continue
            self._ended(work, piece.token, len(piece.arguments) - len(at))
            work.queued -= len(piece.arguments) - len(at)
            for first, count in pages.spans_of(at):
                kept.append(_cut(piece, first, first + count))
        work.queue = kept
        effects: list[Effect] = []
        for number, batch in self.batches.items():
            if batch.work is work:
                hit = tuple(i for i in range(batch.count) if batch.first + i in gone)
                if hit:
                    effects.append(StopRun(number, hit, message.stop))
        return effects + self._start(now)

    def settled(self, sender: Contact, message: Settled) -> list[Effect]:
        """These receipts lie on enough holders (or with a steward): the journal may forget them."""
        work = self.works.get(message.job)
        if work is None or not (sender.id == work.grantor.id or self._is_steward(work, sender)):
            return []
        writes: list[Write] = []
        for token, part in message.parts:
            if work.unsettled.pop((token, part), None) is not None:
                writes.append(Write("journal", (message.job, token, part), None))
        return [Commit(tuple(writes))] if writes else []

    @staticmethod
    def _is_steward(work: Work, sender: Contact) -> bool:
        return any(steward.contact.id == sender.id for steward in work.authority.spec.stewards)

    # --- what the runtime says -----------------------------------------------------------------------------------

    def ran(
        self, number: int, position: int, outcomes: bytes, values: list[bytes], digests: bytes, ran_s: float,
        output: list[tuple[int, int, bytes]], now: float,
    ) -> list[Effect]:  # fmt: skip
        """Results of ``batch`` from ``position`` on. ``output`` lists (position, stream, bytes)."""
        batch = self.batches.get(number)
        if batch is None or batch.token not in batch.work.leases:
            self._done(number, position + len(outcomes))
            return self._start(now)
        work, lease = batch.work, batch.work.leases[batch.token]
        sample = ran_s / max(len(outcomes), 1)
        work.task_s = sample if work.task_s is None else work.task_s + 0.5 * (sample - work.task_s)
        self.completed += len(outcomes)
        effects: list[Effect] = []
        kept, digests = self._blobs(work, lease, values, digests, effects)
        prints = [Print(batch.first + at, stream, data) for at, stream, data in output]
        spans = [(batch.first + position, len(outcomes))]
        self._done(number, position + len(outcomes))
        effects += self._results(work, lease, spans, outcomes, kept, digests, ran_s, prints, now)
        return effects + self._start(now)

    def _blobs(
        self, work: Work, lease: LeaseTaken, values: list[bytes], digests: bytes, effects: list[Effect]
    ) -> tuple[list[bytes | BlobRef], bytes]:
        """Values too large to stand inline become sealed blobs, sent ahead of the receipt that names them."""
        if all(len(value) <= limits.INLINE_BYTES_MAX for value in values):
            return list(values), digests
        kept: list[bytes | BlobRef] = []
        stated: list[bytes] = []
        job, retention_s = work.authority.job, work.authority.spec.retention_s
        for at, value in enumerate(values):
            if len(value) <= limits.INLINE_BYTES_MAX:
                kept.append(value)
                stated.append(digests[at * 16 : at * 16 + 16])
                continue
            # Keyed by the job's digest key: equal results of two workers are equal blobs, so votes can be compared.
            key = derive(lease.digest_key, b"p2pcpn blob", digest(value))
            sealed = seal(key, 0, value)
            ref = BlobRef(digest(sealed), len(sealed), key)
            kept.append(ref)
            stated.append(result_digest(lease.digest_key, ref.digest))
            effects.append(KeepBlob(ref.digest, sealed, job, retention_s))
            effects.append(TellBlob(work.grantor, 0, ref.digest, job, retention_s))
        return kept, b"".join(stated)

    def died(self, number: int, position: int, signal: int | None, exit_code: int | None, now: float) -> list[Effect]:
        """The worker process died at ``position``; what came after it has not started and is queued again."""
        batch = self.batches.pop(number, None)
        if batch is None:
            return self._start(now)
        work = batch.work
        work.running -= 1
        lease = work.leases.get(batch.token)
        if lease is None:
            return self._start(now)
        value = pages.DEATH.encode(Death(signal, exit_code))
        stated = result_digest(lease.digest_key, value)
        effects: list[Effect] = []
        rest = batch.count - position - 1
        if rest > 0:  # batch-mates that had not started go back uncharged
            spans = [(batch.first + position + 1, rest)]
            effects.append(Tell(work.grantor, Return(work.authority.job, batch.token, spans, "late", "worker died")))
            lease.remaining -= rest
        spans = [(batch.first + position, 1)]
        effects += self._results(work, lease, spans, bytes([Outcome.DIED]), [value], stated, 0.0, [], now)
        return effects + self._start(now)

    def dropped(self, number: int, position: int, count: int, now: float) -> list[Effect]:
        """The runtime dropped revoked positions unrun."""
        batch = self.batches.get(number)
        if batch is None:
            return []
        self._ended(batch.work, batch.token, count)
        self._done(number, position + count)
        return self._start(now)

    def refused(self, number: int, why: str, now: float) -> list[Effect]:
        """The runtime cannot run a batch at all (a blob is missing, the project does not unpack): declined."""
        batch = self.batches.pop(number, None)
        if batch is None:
            return self._start(now)
        work = batch.work
        work.running -= 1
        self._ended(work, batch.token, batch.count)
        spans = [(batch.first, batch.count)]
        text = why[: limits.REASON_CHARS_MAX]
        code = "missing" if "blob" in why else "declined"
        return [Tell(work.grantor, Return(work.authority.job, batch.token, spans, code, text)), *self._start(now)]

    def printed(self, number: int, position: int, stream: int, data: bytes) -> list[Effect]:
        """A running task printed something."""
        batch = self.batches.get(number)
        lease = batch.work.leases.get(batch.token) if batch is not None else None
        if batch is None or lease is None:
            return []
        lease.outputs += 1
        line = pages.PRINT.encode(Print(batch.first + position, stream, data))
        sealed = seal(output_key(lease.result_key), lease.outputs, line)
        return [Tell(batch.work.grantor, Output(batch.work.authority.job, batch.token, lease.outputs, sealed))]

    def _results(
        self, work: Work, lease: LeaseTaken, spans: list[tuple[int, int]], outcomes: bytes,
        values: list[bytes | BlobRef], digests: bytes, ran_s: float, prints: list[Print], now: float,
    ) -> list[Effect]:  # fmt: skip
        """One receipt, journalled and sent."""
        job = work.authority.job
        part = lease.parts
        lease.parts += 1
        sealed = seal(lease.result_key, part, pages.RESULTS.encode(ResultPage(values, prints)))
        receipt = signed(
            Receipt(
                job, lease.epoch, node_id(work.grantor_key), lease.token, part, spans, outcomes, digests,
                digest(sealed), ran_s, self._proof,
            ),
            self.me,
        )  # fmt: skip
        lease.remaining -= len(outcomes)
        lease.renew_at = now + limits.RENEW_S
        message = Results(receipt, sealed, lease.remaining <= 0)
        if lease.remaining <= 0:
            del work.leases[lease.token]
        work.unsettled[lease.token, part] = message
        work.used_at = now
        row = (lease.epoch, node_id(work.grantor_key), pages.SIGNED.encode(receipt), sealed)
        return [Tell(work.grantor, message), Commit((Write("journal", (job, lease.token, part), row),))]

    def _ended(self, work: Work, token: int, count: int) -> None:
        lease = work.leases.get(token)
        if lease is not None:
            lease.remaining -= count
            if lease.remaining <= 0:
                del work.leases[token]

    def _done(self, number: int, position: int) -> None:
        """``batch`` has got to ``position``; it is over when that is its end."""
        batch = self.batches.get(number)
        if batch is not None and position >= batch.count:
            del self.batches[number]
            batch.work.running -= 1

    # --- what runs next --------------------------------------------------------------------------------------------

    def _start(self, now: float) -> list[Effect]:
        """Hand batches to the runtime while it has room, the jobs in turn."""
        effects: list[Effect] = []
        while True:
            chosen = self._next()
            if chosen is None:
                break
            effects.append(self._hand_over(chosen, now))
        if self.batches and self._tick_at is None:
            self._tick_at = now + STARTED_AFTER_S
        return effects

    def _next(self) -> Work | None:
        """The job whose turn it is: fewest batches running, longest unserved."""
        best: Work | None = None
        total = len(self.batches)
        for work in self.works.values():
            if not work.queue:
                continue
            short = work.task_s is not None and work.task_s < DOUBLE_BELOW_S
            if work.running >= work.slots * (2 if short else 1) or total >= self.slots * (2 if short else 1):
                continue
            if best is None or work.running < best.running:
                best = work
        return best

    def _hand_over(self, work: Work, now: float) -> Run:
        self.works.move_to_end(work.authority.job)
        piece = work.queue.popleft()
        size = 1 if work.task_s is None else max(1, min(int(HAND_OVER_S / max(work.task_s, 1e-6)), limits.PAGE_TASKS_MAX))
        # Spread what is left over all our slots before any of them gets a second share.
        size = max(1, min(size, -(-work.queued // work.slots)))
        if len(piece.arguments) > size:
            work.queue.appendleft(_cut(piece, size, len(piece.arguments)))
            piece = _cut(piece, 0, size)
        self._batch += 1
        count = len(piece.arguments)
        work.queued -= count
        work.running += 1
        self.batches[self._batch] = Batch(work, piece.token, piece.first, count, now)
        lease = work.leases[piece.token]
        return Run(
            self._batch, work.authority.owner, work.authority.spec.code, lease.code_key, piece.functions, piece.numbers,
            piece.arguments, lease.digest_key, work.authority.spec.output,
        )  # fmt: skip

    @property
    def running(self) -> int:
        """Batches in worker processes now."""
        return min(len(self.batches), self.slots)

    @property
    def queued(self) -> int:
        """Leased tasks that wait for a slot."""
        return sum(work.queued for work in self.works.values())

    # --- sessions and time -----------------------------------------------------------------------------------------

    def session_opened(self, peer: NodeId, now: float) -> list[Effect]:
        """A grantor is back: offer it what it has not acknowledged."""
        effects: list[Effect] = []
        for work in self.works.values():
            if work.grantor.id == peer:
                work.orphaned_at, work.orphan_turn = None, 0
                effects += [Tell(work.grantor, message) for message in work.unsettled.values()]
        return effects

    def session_closed(self, peer: NodeId, now: float) -> None:
        """The session with a grantor is lost: its results go to the stewards if it does not come back."""
        for work in self.works.values():
            if work.grantor.id == peer and (work.unsettled or work.leases):
                work.orphaned_at = now + ORPHANED_AFTER_S

    def deadline(self) -> float | None:
        times = [self._tick_at] if self._tick_at is not None else []
        for work in self.works.values():
            times += [lease.renew_at for lease in work.leases.values()]
            if work.orphaned_at is not None:
                times.append(work.orphaned_at)
        return min(times, default=None)

    def expire(self, now: float) -> list[Effect]:
        """Renew leases, tell what has started, look after orphans."""
        effects: list[Effect] = []
        started = self._started(now) if self._tick_at is not None and now >= self._tick_at else {}
        for job, work in self.works.items():
            for lease in work.leases.values():
                indices = started.get((job, lease.token), [])
                if indices or now >= lease.renew_at:
                    lease.renew_at = now + limits.RENEW_S
                    effects.append(Tell(work.grantor, Progress(job, lease.token, indices)))
            if work.orphaned_at is not None and now >= work.orphaned_at:
                effects += self._orphaned(work, now)
        return effects

    def _started(self, now: float) -> dict[tuple[bytes, int], list[int]]:
        """Tasks that have run for a while and were not reported yet."""
        self._tick_at = now + STARTED_AFTER_S if self.batches else None
        found: dict[tuple[bytes, int], list[int]] = {}
        if not any(now - batch.since >= STARTED_AFTER_S for batch in self.batches.values()):
            return found
        for number, position in sorted(self.running_positions().items()):
            batch = self.batches.get(number)
            if batch is not None and position > batch.told and now - batch.since >= STARTED_AFTER_S:
                batch.told = position
                found.setdefault((batch.work.authority.job, batch.token), []).append(batch.first + position)
        return found

    def _orphaned(self, work: Work, now: float) -> list[Effect]:
        """The grantor is silent: offer it, and one steward after the other, what nobody has acknowledged."""
        stewards = [s.contact for s in work.authority.spec.stewards if s.contact.id != self.me.id]
        turns = [work.grantor, *stewards]
        work.orphaned_at = now + ORPHANED_AFTER_S * (1 + work.orphan_turn) if work.unsettled else None
        if not work.unsettled or work.orphan_turn >= 3 * len(turns):
            work.orphaned_at = None
            return []
        to = turns[work.orphan_turn % len(turns)]
        work.orphan_turn += 1
        return [Tell(to, message) for message in work.unsettled.values()]

    def restore(self, rows: list[tuple[Signed, Contact, list[Results]]], now: float) -> None:
        """After a restart: journalled results of jobs whose spec is known, to be offered again."""
        for spec, grantor, results in rows:
            authority = Authority(spec)
            work = Work(authority, grantor, authority.spec.grantor, None, now)
            for message in results:
                said = opened(message.receipt, Receipt)
                work.unsettled[said.token, said.part] = message
            work.orphaned_at = now
            self.works[authority.job] = work

    def _forget_idle(self) -> None:
        for job, work in list(self.works.items()):
            if not work.leases and not work.unsettled and not work.running:
                del self.works[job]
                return


def _cut(piece: Piece, low: int, high: int) -> Piece:
    """Part of a piece."""
    return Piece(
        piece.token,
        piece.first + low,
        piece.functions,
        None if piece.numbers is None else piece.numbers[low:high],
        piece.arguments[low:high],
    )
