"""Work: one job at this peer, and the register of all of them: bounded, the idle ones forgotten.

A job is *busy* here while it has a lease, a running batch or a result that nobody acknowledged. An idle one is
forgotten after a while, but not while its grantor has a session with us: the grantor believes that we know the job.
"""

from __future__ import annotations

import math
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.pace import Typical
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Input, Results
from p2pcpn.wire.statements import BlobRef, Signed

IDLE_JOB_S = 600.0
# A grantor may count a thousand million leases in an epoch, wherever it begins.
TOKEN_BITS = 31
# Tokens that were passed over and may come late: what is said within one turn of a grantor.
SKIPPED_MAX = 64

# Pieces of pages are joined up to so many tasks. A piece is copied each time that a batch is cut from it.
JOINED_TASKS_MAX = 64

Rank = tuple[int, float]  # of one owner's jobs the least is next: priority, negated, then deadline


def numbers_from(boot: int) -> int:
    """From which number on this life of a peer counts what it says under one lease.

    The numbers are nonces under the lease's key, and a grantor sends a lease again to a peer that has restarted. Boots
    are at least a second apart (:meth:`p2pcpn.store.database.Database.next_boot`); 4,096 things a second are said by
    nobody.
    """
    return (boot % (1 << 19)) << 12


def tokens_from(rng: random.Random) -> int:
    """Above which number a grantor counts its leases in an epoch that was taken over: by chance.

    No node takes an epoch twice (:mod:`p2pcpn.protocol.regaining`), as long as its disk does not forget. Keys of leases
    follow from epoch, node and token: should it forget, two lives of it share none, but by a chance of one in a million
    for each thousand leases that the other gave.
    """
    return int(rng.random() * (1 << TOKEN_BITS - 1))


def run_number(epoch: int, token: int) -> int:
    """Epoch and token as one number, since the grantors of each epoch count their tokens by themselves."""
    return (epoch << TOKEN_BITS) + token


@dataclass(slots=True, eq=False)
class LeaseTaken:
    """A lease this peer holds. ``remaining`` counts tasks that have neither a result nor gone back."""

    token: int
    epoch: int
    grantor: Contact
    remaining: int
    result_key: bytes
    digest_key: bytes
    code_key: bytes
    renew_at: float
    # The next number of each kind: no two lives of a peer may use one under the same key (:func:`numbers_from`).
    parts: int = 0
    outputs: int = 0
    checkpoints: int = 0
    states: dict[int, bytes] = field(default_factory=dict)  # what its tasks left, here or in earlier runs
    ahead: range = range(0)  # tasks that it gives and that are not there yet
    until: float = 0.0  # of those none is taken any more
    signed: Signed | None = None  # as its grantor signed it, to be shown to whoever grants next
    # What tells leases of one job apart: grantors of different epochs count their tokens alike.
    key: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.epoch, self.token


@dataclass(slots=True, eq=False)
class Piece:
    """Consecutive tasks under one lease, ready to run: of one page, or of several small ones that name the same
    functions. ``size_bytes`` is what it costs to keep.

    ``parts`` are the blobs beside each task's arguments, and small results that it takes; none when no task has any.
    ``inputs`` are the tasks whose results each one takes, and the digests of those.
    """

    lease: LeaseTaken
    first: int
    functions: tuple[bytes | BlobRef, ...]
    numbers: tuple[int, ...] | None
    arguments: tuple[bytes | BlobRef, ...]
    size_bytes: int = 0
    parts: tuple[tuple[BlobRef | bytes, ...], ...] | None = None
    inputs: tuple[tuple[tuple[int, bytes], ...], ...] | None = None

    def __post_init__(self) -> None:
        inline = 0
        for value in self.arguments:
            if isinstance(value, bytes):
                inline += len(value)
        if self.inputs is not None and self.parts is not None:
            inline += sum(len(part) for parts in self.parts for part in parts if isinstance(part, bytes))
        self.size_bytes = inline + len(self.arguments) * limits.QUEUED_TASK_BYTES

    def with_next(self, other: Piece) -> Piece | None:
        """This piece and the ``other`` behind it as one; none where they do not fit, or are too long to be copied."""
        here, there = len(self.arguments), len(other.arguments)
        if other.first != self.first + here or here + there > JOINED_TASKS_MAX or self.functions != other.functions:
            return None
        numbers = None
        if self.numbers is not None or other.numbers is not None:
            numbers = (self.numbers or (0,) * here) + (other.numbers or (0,) * there)
        parts = None
        if self.parts is not None or other.parts is not None:
            parts = (self.parts or ((),) * here) + (other.parts or ((),) * there)
        inputs = None
        if self.inputs is not None or other.inputs is not None:
            inputs = (self.inputs or ((),) * here) + (other.inputs or ((),) * there)
        return Piece(
            self.lease, self.first, self.functions, numbers, self.arguments + other.arguments, parts=parts,
            inputs=inputs,
        )  # fmt: skip

    def within(self, size_bytes: int, count: int) -> int:
        """How many of its first ``count`` tasks, one at least, have blobs of no more than ``size_bytes`` together."""
        if self.parts is None:
            return count
        left_bytes = size_bytes
        seen: set[bytes] = set()
        for position, parts in enumerate(self.parts[:count]):
            for part in parts:
                if isinstance(part, BlobRef) and part.digest not in seen:
                    seen.add(part.digest)
                    left_bytes -= part.size_bytes
            if left_bytes < 0:
                return max(position, 1)
        return count

    def cut(self, low: int, high: int) -> Piece:
        """The tasks ``low`` to ``high`` (exclusive) of the piece."""
        numbers = None if self.numbers is None else self.numbers[low:high]
        parts = None if self.parts is None else self.parts[low:high]
        inputs = None if self.inputs is None else self.inputs[low:high]
        return Piece(
            self.lease, self.first + low, self.functions, numbers, self.arguments[low:high], parts=parts, inputs=inputs
        )


@dataclass(slots=True, eq=False)
class Unsettled:
    """A result that nobody acknowledged. ``message`` is none where only its row on disk is left."""

    message: Results | None
    blobs: tuple[bytes, ...]
    grantor: Contact


@dataclass(slots=True, eq=False)
class Work:
    """One job at this peer. ``refused`` says why it is not run here; ``grantor`` grants it, or its stem, in the newest
    epoch, or was the first to say of a distributed one; who grants its lots are ``seats``."""

    authority: Authority
    grantor: Contact
    refused: str | None
    introducer: NodeId
    seats: dict[int, Contact] = field(default_factory=dict)  # by lot
    brought: dict[int, int] = field(default_factory=dict)  # lot -> the newest epoch whose grantor was brought results
    leases: dict[tuple[int, int], LeaseTaken] = field(default_factory=dict)  # by epoch and token
    foreseen: LeaseTaken | None = None  # the newest lease, where it gives tasks that are still to come
    newest: dict[int, int] = field(default_factory=dict)  # epoch -> its highest token heard: none comes twice
    skipped: dict[tuple[int, int], None] = field(default_factory=dict)  # tokens below it that may still come
    queue: deque[Piece] = field(default_factory=deque)
    queued: int = 0
    queued_bytes: int = 0
    running: int = 0  # batches in worker processes
    slots: int = 1
    task_s: float | None = None  # what is typical
    typical: Typical = field(default_factory=Typical)
    given: dict[tuple[int, int], dict[int, Input]] = field(default_factory=dict)  # for leases that are to come
    unsettled: dict[tuple[int, int, int], Unsettled] = field(default_factory=dict)  # by epoch, token and part
    orphaned_at: float | None = None
    orphaned_since: float = 0.0
    orphan_turn: int = 0
    due: float = math.inf  # when its results are of no use any more
    job: bytes = field(init=False)
    rank: Rank = field(init=False)  # its place among its owner's jobs

    def __post_init__(self) -> None:
        self.job = self.authority.job
        self.rank = -self.authority.spec.priority, self.due

    def seat(self, contact: Contact, epoch: int) -> None:
        """Whoever grants what is granted in ``epoch`` is there."""
        lot = self.authority.lots.of_epoch(epoch)
        if self.authority.lots.is_stem(lot):
            self.grantor = contact
        else:
            self.seats[lot] = contact

    def grantor_in(self, epoch: int) -> Contact:
        """Who grants now what was granted in ``epoch``."""
        authority = self.authority
        newest = authority.tenure(epoch)
        if authority.lots.is_stem(newest.lot):
            return self.grantor
        named = (steward.contact for steward in authority.spec.stewards if steward.key == newest.grantor)
        return self.seats.get(newest.lot) or next(named, self.grantor)

    @property
    def grantors(self) -> list[Contact]:
        """Everybody who grants it, as far as is known."""
        return [self.grantor, *self.seats.values()]

    def is_new(self, epoch: int, token: int) -> bool:
        """Whether a lease with that token was not heard before."""
        return token > self.newest.get(epoch, -1) or (epoch, token) in self.skipped

    def heard(self, epoch: int, token: int) -> None:
        """A lease with that token is here. Those before it are others', or decided before it and said behind it."""
        newest = self.newest.get(epoch, -1)
        if token <= newest:
            self.skipped.pop((epoch, token), None)
            return
        for between in range(max(newest + 1, token - SKIPPED_MAX), token):
            self.skipped[epoch, between] = None
        while len(self.skipped) > SKIPPED_MAX:
            del self.skipped[next(iter(self.skipped))]
        self.newest[epoch] = token

    @property
    def busy(self) -> bool:
        return bool(self.leases or self.running or self.unsettled)


class Works:
    """All jobs at this peer.

    ``sessions`` are the peers we have a session with. ``drop(job)`` is called for jobs that are idle: what else lies
    here of them, such as pages, may go.
    """

    def __init__(self, sessions: set[NodeId], drop: Callable[[bytes], None]) -> None:
        self.jobs: dict[bytes, Work] = {}
        self._sessions = sessions
        self._drop = drop
        self._introduced: Counter[NodeId] = Counter()
        self._idle: OrderedDict[bytes, float] = OrderedDict()  # job -> when it is forgotten, soonest first

    def add(self, work: Work, now: float) -> bool:
        """Take a job in, in place of an idle one where there are too many; false when none is idle."""
        if self._crowded(work.introducer):
            longest = self._displaced(work.introducer)
            if longest is None:
                return False
            self._forget(longest)
        self.jobs[work.job] = work
        self._introduced[work.introducer] += 1
        self.changed(work, now)
        return True

    def takes(self, introducer: NodeId) -> bool:
        """Whether a job of ``introducer`` would be taken in."""
        return not self._crowded(introducer) or self._displaced(introducer) is not None

    def _crowded(self, introducer: NodeId) -> bool:
        alone = self._introduced[introducer] >= limits.JOBS_PER_GRANTOR_MAX
        return alone or len(self.jobs) >= limits.JOBS_PER_PEER_MAX

    def _displaced(self, introducer: NodeId) -> bytes | None:
        """The longest idle job; of ``introducer``, where it has its share already."""
        alone = self._introduced[introducer] >= limits.JOBS_PER_GRANTOR_MAX
        return next((job for job in self._idle if not alone or self.jobs[job].introducer == introducer), None)

    @property
    def busy(self) -> bool:
        """Whether any of them is; the others wait for leases that may never come."""
        return len(self._idle) < len(self.jobs)

    def changed(self, work: Work, now: float) -> None:
        """``work`` may have become busy or idle."""
        if work.busy:
            self._idle.pop(work.job, None)
        else:
            self._idle[work.job] = now + IDLE_JOB_S
            self._idle.move_to_end(work.job)

    def _forget(self, job: bytes) -> None:
        del self._idle[job]
        work = self.jobs.pop(job)
        self._introduced[work.introducer] -= 1
        if not self._introduced[work.introducer]:
            del self._introduced[work.introducer]
        self._drop(job)

    def deadline(self) -> float | None:
        return next(iter(self._idle.values()), None)

    def expire(self, now: float) -> None:
        """Forget what has been idle for long."""
        while self._idle:
            job, until = next(iter(self._idle.items()))
            if until > now:
                return
            if any(grantor.id in self._sessions for grantor in self.jobs[job].grantors):
                self._idle[job] = now + IDLE_JOB_S
                self._idle.move_to_end(job)
                self._drop(job)
            else:
                self._forget(job)
