"""The verdict over a history: which promises of a job it breaks, each with the events that show it.

What is checked, after DESIGN's "at least once, settled once, no consensus":

- *settled once*: a grantor settles an index once, its log states what it settled, and no log says two things in one
  place; nothing is leased again that was settled.
- *lots*: of a distributed or divided job one peer alone grants in an epoch of a lot, and nothing but that lot.
- *leases*: a token is given out once, and no index is owed under two leases, but where one is a declared copy.
- *fenced*: no result is accepted under a token that never leased it, or while a newer lease owes the index. A copy
  fences nobody beside whom it was granted.
- *forged*: what is accepted is what its worker stated.
- *canonical*: after all faults every reader sees what counts of the settlements that disks still hold: of each task the
  least (epoch, digest) that was made of results which count.
- *lost*: every task of a closed job ends: settled, and every reader sees it; given up with a stated cause; cancelled.
  One that took a result which lost to another has not ended.
- *future*: what a program was delivered never changes. That another result became canonical is a conflict, counted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from p2pcpn.protocol import history as h
from p2pcpn.protocol.canonical import Canon, Stated
from p2pcpn.protocol.history import Line, columns, indices
from p2pcpn.protocol.lots import DIVIDED_EPOCH, Lots
from p2pcpn.protocol.spans import Span

# A verdict that names a thousand violations of one kind helps nobody.
SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: which ``rule``, what happened, and the lines that show it."""

    rule: str
    text: str
    lines: tuple[Line, ...] = ()


@dataclass(slots=True)
class Verdict:
    """What a history comes to. ``conflicts``: indices delivered with another result than the canonical one."""

    violations: list[Violation] = field(default_factory=list)
    broken: int = 0  # violations in all; those beyond the first hundred are only counted
    events: int = 0
    jobs: int = 0
    tasks: int = 0
    settled: int = 0
    failed: int = 0
    cancelled: int = 0
    reruns: int = 0  # settled again by another grantor or epoch
    late: int = 0  # receipts that settled nothing
    copies: int = 0
    readers: int = 0
    conflicts: int = 0

    @property
    def ok(self) -> bool:
        """Whether no promise is broken."""
        return not self.broken

    def __str__(self) -> str:
        if self.ok:
            return "clean"
        first = self.violations[0]
        return f"{first.rule}: {first.text}" + (f" (and {self.broken - 1} more)" if self.broken > 1 else "")


@dataclass(slots=True)
class _Owed:
    """One lease as its grantor's process has it, and what it still owes."""

    line: Line
    lease: h.Leased
    spans: set[int]
    open: set[int]
    ahead: set[int] = field(default_factory=set)  # given, and not there yet


@dataclass(slots=True)
class _Granting:
    """What one process granted of one job in one epoch."""

    leases: dict[int, _Owed] = field(default_factory=dict)
    owed: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))  # index -> tokens that owe it
    beside: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)  # (index, copy) -> whom it fences not
    settling: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))  # index -> leases it fulfilled
    accepted: dict[int, tuple[str, Line]] = field(default_factory=dict)  # index -> digest
    signed: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Job:
    """What all processes say of one job."""

    total: int | None = None
    said: int = 0
    cancelled: bool = False
    settled: set[int] = field(default_factory=set)
    failed: dict[int, Line] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    # Log segments: (epoch, grantor, number) -> name, its settlements, where it was said.
    segments: dict[tuple[int, str, int], tuple[str, dict[int, str], Line]] = field(default_factory=dict)
    # Of a segment and a task: the results that it took, and their digests.
    taken: dict[tuple[tuple[int, str, int], int], tuple[tuple[int, bytes], ...]] = field(default_factory=dict)
    signed: dict[tuple[int, int], Line] = field(default_factory=dict)  # (epoch, index)
    # Of each segment: on whose disks it is, and since which life of theirs.
    kept: dict[tuple[int, str, int], dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    delivered: dict[tuple[str, int], tuple[str, Line]] = field(default_factory=dict)
    readers: list[tuple[Line, dict[int, tuple[int, str]]]] = field(default_factory=list)


class Judge:
    """Reads lines, those of each process in their order; :meth:`verdict` when there are no more."""

    def __init__(self) -> None:
        self._verdict = Verdict()
        self._jobs: dict[str, _Job] = defaultdict(_Job)
        self._granting: dict[tuple[str, str, int], _Granting] = defaultdict(_Granting)  # process, job, epoch
        self._lots: dict[tuple[str, int], tuple[Line, Lots]] = {}  # of distributed jobs, by job and epoch
        self._tokens: dict[tuple[str, str, int, int], Line] = {}  # node, job, epoch, token
        self._made: dict[tuple[str, str, int, str, int, int], dict[int, str]] = {}
        self._accepted: list[tuple[tuple[str, str, int, str, int, int], Line]] = []
        self._number: dict[str, int] = {}
        self._nodes: set[str] = set()
        self._lost_disks: dict[str, float] = {}  # node -> the last life whose disk is lost, inf: it is gone for good
        self._verdicts = {
            h.Opened: self._opened,
            h.Said: self._said, h.Closed: self._closed, h.Cancelled: self._cancelled, h.Leased: self._leased,
            h.Foresaw: self._foresaw, h.Furthered: self._furthered,
            h.Ended: self._ended, h.Made: self._made_up, h.Accepted: self._accepts, h.Late: self._late,
            h.Inherited: self._inherits,
            h.Signed: self._signs, h.Kept: self._keeps, h.Failed: self._fails, h.Dropped: self._drops,
            h.Delivered: self._delivers, h.Saw: self._saw, h.Fault: self._fault, h.Began: self._began,
        }  # fmt: skip

    def read(self, line: Line) -> None:
        """The next line of its process."""
        self._verdict.events += 1
        if line.number <= self._number.get(line.process, 0):
            self._broken("history", f"{line.process} notes its event {line.number} out of order", line)
        self._number[line.process] = line.number
        judge = self._verdicts.get(type(line.event))
        if judge is not None:
            judge(line, line.event)  # type: ignore[operator]

    def _broken(self, rule: str, text: str, *lines: Line) -> None:
        self._verdict.broken += 1
        if len(self._verdict.violations) < SHOWN_MAX:
            self._verdict.violations.append(Violation(rule, text, lines))

    # --- processes and jobs ------------------------------------------------------------------------------------------

    def _began(self, line: Line, event: h.Began) -> None:
        self._nodes.add(line.node)

    def _fault(self, line: Line, event: h.Fault) -> None:
        """Who is ``gone`` for good takes its disk along; ``wiped`` names the lives whose disks were lost."""
        for peer in event.peers:
            node, _, boot = peer.partition("/")
            if event.kind == "gone":
                self._lost_disks[node] = math.inf
            elif event.kind == "wiped":
                self._lost_disks[node] = max(float(boot), self._lost_disks.get(node, 0.0))

    def _said(self, line: Line, event: h.Said) -> None:
        job = self._jobs[event.job]
        job.said = max(job.said, event.total)

    def _closed(self, line: Line, event: h.Closed) -> None:
        self._jobs[event.job].total = event.total

    def _cancelled(self, line: Line, event: h.Cancelled) -> None:
        self._jobs[event.job].cancelled = True

    def _drops(self, line: Line, event: h.Dropped) -> None:
        self._jobs[event.job].dropped.update(indices(event.spans))

    def _fails(self, line: Line, event: h.Failed) -> None:
        job = self._jobs[event.job]
        for index in indices(event.spans):
            job.failed[index] = line
            if not event.why:
                self._broken("lost", f"task {index} was given up without a cause", line)

    # --- lots --------------------------------------------------------------------------------------------------------

    def _opened(self, line: Line, event: h.Opened) -> None:
        if event.lots < 2:
            return
        lots = Lots(bytes.fromhex(event.job), event.lots, stem=event.epoch >= DIVIDED_EPOCH)
        known, _ = self._lots.setdefault((event.job, event.epoch), (line, lots))
        if known.node != line.node:
            self._broken("lots", f"two peers grant the same lot in epoch {event.epoch}", known, line)

    def _in_lot(self, line: Line, job: str, epoch: int, spans: Iterable[Span]) -> None:
        """What is granted in an epoch of a distributed job is in the lot of that epoch."""
        if (job, epoch) not in self._lots:
            return
        opened, lots = self._lots[job, epoch]
        for first, count in spans:
            others = lots.astray(epoch, first, count)
            if others:
                text = f"task {others[0][0]} is granted in epoch {epoch}, which is of another lot"
                self._broken("lots", text, opened, line)

    # --- leases ------------------------------------------------------------------------------------------------------

    def _leased(self, line: Line, event: h.Leased) -> None:
        known = self._tokens.setdefault((line.node, event.job, event.epoch, event.token), line)
        if known is not line:
            self._broken("leases", f"token {event.token} of epoch {event.epoch} is given out twice", known, line)
        self._in_lot(line, event.job, event.epoch, event.spans)
        granting = self._granting[line.process, event.job, event.epoch]
        owed = granting.leases[event.token] = _Owed(line, event, set(), set())
        self._verdict.copies += event.copy
        self._owes(line, granting, owed, event.spans)

    def _foresaw(self, line: Line, event: h.Foresaw) -> None:
        owed = self._granting[line.process, event.job, event.epoch].leases.get(event.token)
        if owed is None:
            self._broken("leases", f"token {event.token}, which nobody was granted, is to give tasks to come", line)
            return
        owed.ahead.update(indices(event.spans))

    def _furthered(self, line: Line, event: h.Furthered) -> None:
        self._in_lot(line, event.job, event.epoch, event.spans)
        granting = self._granting[line.process, event.job, event.epoch]
        owed = granting.leases.get(event.token)
        for index in indices(event.spans):
            if owed is None or index not in owed.ahead:
                self._broken("leases", f"task {index} is run under token {event.token}, which does not give it", line)
        if owed is not None:
            self._owes(line, granting, owed, event.spans)

    def _owes(self, line: Line, granting: _Granting, owed: _Owed, spans: Iterable[Span]) -> None:
        """``spans`` are owed under a lease from now on."""
        event = owed.lease
        owed.spans.update(indices(spans))
        owed.open.update(indices(spans))
        owed.ahead.difference_update(indices(spans))
        for index in indices(spans):
            tokens = granting.owed[index]
            if tokens and not event.copy:
                other = granting.leases[min(tokens)].line
                self._broken("leases", f"task {index} is leased while another lease owes it", other, line)
            if any(granting.leases[token].lease.worker == event.worker for token in tokens):
                self._broken("leases", f"task {index} is leased twice to one peer", line)
            if index in granting.accepted:
                self._broken("settled once", f"task {index} is leased again", granting.accepted[index][1], line)
            if event.copy:
                granting.beside[index, event.token] = frozenset(tokens)
            tokens.add(event.token)

    def _ended(self, line: Line, event: h.Ended) -> None:
        granting = self._granting[line.process, event.job, event.epoch]
        owed = granting.leases.get(event.token)
        for index in indices(event.spans):
            if owed is None or index not in owed.open:
                self._broken("leases", f"task {index} is taken from token {event.token}, which does not owe it", line)
            else:
                owed.open.remove(index)
                granting.owed[index].discard(event.token)
                if event.why == "settled":
                    granting.settling[index].add(event.token)

    # --- results -----------------------------------------------------------------------------------------------------

    def _made_up(self, line: Line, event: h.Made) -> None:
        key = (line.node, event.job, event.epoch, event.grantor, event.token, event.part)
        self._made[key] = dict(columns(event.spans, event.digests))

    def _accepts(self, line: Line, event: h.Accepted) -> None:
        granting = self._granting[line.process, event.job, event.epoch]
        owed = granting.leases.get(event.token)
        self._accepted.append(((event.worker, event.job, event.epoch, line.node, event.token, event.part), line))
        for index, digest in columns(event.spans, event.digests):
            if index in granting.accepted:
                self._broken("settled once", f"task {index} is settled twice", granting.accepted[index][1], line)
                continue
            granting.accepted[index] = (digest, line)
            self._jobs[event.job].settled.add(index)
            if owed is None or owed.lease.worker != event.worker:
                self._broken("fenced", f"task {index} is settled under token {event.token}, which is not its", line)
                continue
            if index not in owed.spans:
                self._broken("fenced", f"task {index} was not leased under token {event.token}", owed.line, line)
                continue
            fulfilled = granting.settling.pop(index, set())
            fences = [token for token in granting.owed[index] if token > event.token]
            fences = [token for token in fences if event.token not in granting.beside.get((index, token), ())]
            if fulfilled and event.token not in fulfilled:
                fences += fulfilled
            if fences:
                text = f"task {index} is settled under token {event.token}, which {max(fences)} fences"
                self._broken("fenced", text, owed.line, granting.leases[max(fences)].line, line)

    def _inherits(self, line: Line, event: h.Inherited) -> None:
        granting = self._granting[line.process, event.job, event.epoch]
        key = (event.worker, event.job, event.of_epoch, event.of_grantor, event.token, event.part)
        self._accepted.append((key, line))
        for index, digest in columns(event.spans, event.digests):
            if index in granting.accepted:
                self._broken("settled once", f"task {index} is settled twice", granting.accepted[index][1], line)
                continue
            granting.accepted[index] = (digest, line)
            self._jobs[event.job].settled.add(index)
            if granting.owed[index]:
                lease = granting.leases[min(granting.owed[index])].line
                self._broken("fenced", f"task {index} is settled by an older epoch, which a lease fences", lease, line)

    def _late(self, line: Line, event: h.Late) -> None:
        self._verdict.late += 1

    def _signs(self, line: Line, event: h.Signed) -> None:
        job = self._jobs[event.job]
        granting = self._granting[line.process, event.job, event.epoch]
        self._in_lot(line, event.job, event.epoch, event.spans)
        where = (event.epoch, line.node, event.number)
        settled = dict(columns(event.spans, event.digests))
        known = job.segments.setdefault(where, (event.name, settled, line))
        for task, taken, digest in event.inputs:
            job.taken[where, task] = (*job.taken.get((where, task), ()), (taken, bytes.fromhex(digest)))
        if known[0] != event.name:
            self._broken("settled once", f"a log says two things in place {event.number}", known[2], line)
        for index, digest in settled.items():
            before = job.signed.setdefault((event.epoch, index), line)
            if before is not line:
                text = f"task {index} is settled twice in epoch {event.epoch}"
                self._broken("settled once", text, before, line)
            accepted = granting.accepted.get(index)
            if accepted is None or accepted[0] != digest:
                self._broken("settled once", f"the log settles task {index}, which was not accepted so", line)
            granting.signed.add(index)

    def _keeps(self, line: Line, event: h.Kept) -> None:
        where = (event.epoch, event.grantor, event.number)
        self._jobs[event.job].kept[where][line.node] = line.boot

    def _delivers(self, line: Line, event: h.Delivered) -> None:
        job = self._jobs[event.job]
        for index, digest in columns(event.spans, event.digests):
            known = job.delivered.setdefault((line.process, index), (digest, line))
            if known[1] is not line:
                what = "changes" if known[0] != digest else "is resolved again"
                self._broken("future", f"the future of task {index} {what}", known[1], line)

    def _saw(self, line: Line, event: h.Saw) -> None:
        seen = zip(columns(event.spans, event.digests), event.epochs, strict=True)
        self._jobs[event.job].readers.append((line, {index: (epoch, digest) for (index, digest), epoch in seen}))

    # --- the end -----------------------------------------------------------------------------------------------------

    def verdict(self, *, over: bool = True) -> Verdict:
        """What all of it comes to. Not ``over``: jobs may go on still, so that nothing is lost yet."""
        for key, line in self._accepted:
            self._stated(key, line)
        for name in sorted(self._jobs):
            job = self._jobs[name]
            canon = self._canonical(job)
            self._seen(job, canon)
            if over:
                self._lost(job, canon)
            self._count(job, canon)
        return self._verdict

    def _stated(self, key: tuple[str, str, int, str, int, int], line: Line) -> None:
        """What was accepted is what its worker stated, where that worker noted what it did."""
        event = line.event
        assert isinstance(event, (h.Accepted, h.Inherited))
        if key[0] not in self._nodes:
            return
        stated = self._made.get(key, {})
        for index, digest in columns(event.spans, event.digests):
            if stated.get(index) != digest:
                self._broken("forged", f"task {index} is settled by a result that its worker did not state", line)

    def _on_disk(self, node: str, boot: int) -> bool:
        return boot > self._lost_disks.get(node, 0.0)

    def _canonical(self, job: _Job) -> Canon[Stated]:
        """What counts of each index over the segments that the disk of a peer still holds."""
        canon: Canon[Stated] = Canon()
        for where, (_, settled, _) in job.segments.items():
            if job.kept and not any(self._on_disk(*holder) for holder in job.kept.get(where, {}).items()):
                continue
            for index, digest in settled.items():
                canon.add(Stated(index, where[0], bytes.fromhex(digest), job.taken.get((where, index), ())))
        canon.settle()
        return canon

    def _seen(self, job: _Job, canon: Canon[Stated]) -> None:
        for line, seen in job.readers:
            for index, result in seen.items():
                known = canon.results.get(index)
                counts = None if known is None else (known.epoch, known.digest.hex())
                if result != counts:
                    text = f"a reader sees {_words(result)} of task {index}, canonical is {_words(counts)}"
                    self._broken("canonical", text, line)

    def _lost(self, job: _Job, canon: Canon[Stated]) -> None:
        if job.total is None or job.cancelled:
            return
        excused = job.failed.keys() | job.dropped
        missing = [index for index in range(job.total) if index not in job.settled and index not in excused]
        if missing:
            self._broken("lost", f"{len(missing)} of {job.total} tasks never ended, the first is {missing[0]}")
        stale = [index for index in sorted(canon.stale) if index not in excused]
        if stale:
            text = f"{len(stale)} tasks took a result that lost and never ran again, the first is {stale[0]}"
            self._broken("lost", text)
        for line, seen in job.readers:
            hidden = [i for i in range(job.total) if i not in seen and i not in excused and i in job.settled]
            if hidden:
                text = f"{len(hidden)} settled tasks are seen by a reader no more, the first is {hidden[0]}"
                self._broken("lost", text, line)

    def _count(self, job: _Job, canon: Canon[Stated]) -> None:
        found = self._verdict
        found.jobs += 1
        found.tasks += max(job.said, job.total or 0)
        found.settled += len(job.settled)
        found.failed += len(job.failed.keys() - job.settled)
        found.cancelled += len(job.dropped)
        found.reruns += len(job.signed) - len({index for _, index in job.signed})
        found.readers += len(job.readers)
        canonical = {index: each.digest.hex() for index, each in canon.results.items()}
        if job.readers:
            canonical = {index: digest for index, (_, digest) in job.readers[-1][1].items()}
        for (_, index), (digest, _) in job.delivered.items():
            found.conflicts += index in canonical and canonical[index] != digest


def _words(result: tuple[int, str] | None) -> str:
    return "nothing" if result is None else f"{result[1][:8]} of epoch {result[0]}"


def in_order(lines: Iterable[Line]) -> Iterator[Line]:
    """Lines of many files: each life of a peer after the one before, each in its order."""
    yield from sorted(lines, key=lambda line: (line.node, line.boot, line.number))


def judge(lines: Iterable[Line], *, over: bool = True) -> Verdict:
    """The verdict over ``lines``, those of each process in their order. See :meth:`Judge.verdict`."""
    found = Judge()
    for line in lines:
        found.read(line)
    return found.verdict(over=over)
