"""Shares: which owner's work is next at this peer, and which of an owner's jobs.

Owners share the worker processes, whatever number of jobs and tasks each of them has. An owner's *virtual time* is the
time that processes have spent on its tasks; whoever has spent least is next (fair queueing, Demers 1989; the clock is
that of start-time fair queueing, Goyal 1996). An owner who was away comes back at the clock, less a second of credit:
what it used lately counts, what it did not use long ago cannot be saved up. Among one owner's jobs those of the
highest priority are next, among these the one whose deadline is nearest, then the one with the fewest batches running,
then the one that was served longest ago. A priority never counts against another owner.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.protocol.work import Rank, Work

# How far an owner who comes (back) may be ahead of those who are served: a moment of all the processes it can get, and
# no more, or many short visits would be worth more than one long stay.
CREDIT_S = 1.0


@dataclass(slots=True)
class Running:
    """A batch with a worker process: what it was foreseen to take, and since when it is not accounted for."""

    foreseen_s: float
    since: float


@dataclass(slots=True)
class Line:
    """Jobs of one rank that wait, by turn: those without any running batch, and the (few) others."""

    fresh: OrderedDict[bytes, Work] = field(default_factory=OrderedDict)
    served: OrderedDict[bytes, Work] = field(default_factory=OrderedDict)


@dataclass(slots=True, eq=False)
class Share:
    """One owner here. ``used_s`` is its virtual time without that of its running batches."""

    owner: bytes
    used_s: float
    lines: dict[Rank, Line] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)

    def virtual_s(self, now: float) -> float:
        """What was used, and what runs: as long as was foreseen, or as it takes already."""
        return self.used_s + sum(max(each.foreseen_s, now - each.since) for each in self.running.values())


class Shares:
    """See the module. The jobs themselves count their batches (``Work.running``)."""

    def __init__(self) -> None:
        self._active: dict[bytes, Share] = {}
        self._away: OrderedDict[bytes, float] = OrderedDict()  # owner -> its virtual time when it had no work left
        self._clock_s = 0.0

    def __len__(self) -> int:
        """How many owners have work here."""
        return len(self._active)

    def line_up(self, work: Work) -> None:
        """Put a job where it belongs: into the line it is not in yet, or out of both."""
        share = self._active.get(work.authority.owner)
        if share is None:
            if not work.queue:
                return
            share = self._arrived(work.authority.owner)
        line = share.lines.get(work.rank)
        if line is None:
            if not work.queue:
                return
            line = share.lines[work.rank] = Line()
        right, wrong = (line.served, line.fresh) if work.running else (line.fresh, line.served)
        wrong.pop(work.job, None)
        if work.queue:
            right.setdefault(work.job, work)
            return
        right.pop(work.job, None)
        if not line.fresh and not line.served:
            del share.lines[work.rank]
        self._leave(share)

    def _arrived(self, owner: bytes) -> Share:
        used_s = max(self._away.pop(owner, 0.0), self._clock_s - CREDIT_S)
        share = self._active[owner] = Share(owner, used_s)
        return share

    def _leave(self, share: Share) -> None:
        """An owner with nothing left is remembered while it is ahead of where a stranger would begin."""
        if share.lines or share.running or self._active.get(share.owner) is not share:
            return
        del self._active[share.owner]
        self._away[share.owner] = share.used_s
        while self._away and (
            len(self._away) > limits.OWNERS_AWAY_MAX or self._away[next(iter(self._away))] <= self._clock_s - CREDIT_S
        ):
            self._away.popitem(last=False)

    # --- who is next -------------------------------------------------------------------------------------------------

    def next(self, now: float, bound: Callable[[Work], int]) -> Work | None:
        """The job whose turn it is: ``bound`` says how many batches of one may be with processes at a time."""
        order = self.in_turn(now)
        for share in order:
            for rank in sorted(share.lines) if len(share.lines) > 1 else share.lines:
                found = _of_line(share.lines[rank], bound)
                if found is not None:
                    return found
        return None

    def in_turn(self, now: float) -> list[Share]:
        """The owners with work here, whose turn it is first. Whoever comes later begins where the first is."""
        if len(self._active) == 1:
            order = list(self._active.values())
        else:
            order = sorted(self._active.values(), key=lambda share: (share.virtual_s(now), share.owner))
        if order:
            self._clock_s = max(self._clock_s, order[0].used_s)
        return order

    def began(self, work: Work, number: int, foreseen_s: float, now: float) -> None:
        """A batch of ``work`` is with a process (its ``running`` says so): the job goes behind others of its rank."""
        share = self._active[work.authority.owner]
        share.running[number] = Running(foreseen_s, now)
        line = share.lines[work.rank]
        line.fresh.pop(work.job, None)
        line.served.pop(work.job, None)
        self.line_up(work)

    def ran(self, work: Work, number: int, ran_s: float, now: float) -> None:
        """A batch has taken its process ``ran_s`` seconds more."""
        share = self._active[work.authority.owner]
        share.used_s += ran_s
        running = share.running[number]
        running.foreseen_s, running.since = max(0.0, running.foreseen_s - ran_s), now

    def over(self, work: Work, number: int) -> None:
        """A batch has left its process."""
        share = self._active[work.authority.owner]
        del share.running[number]
        if not work.running:
            self.line_up(work)
        self._leave(share)

    # --- what owners have here ---------------------------------------------------------------------------------------

    def sated(self, owner: bytes, priority: int, slots: int) -> bool:
        """Whether ``owner`` has so much here that a further job of that ``priority`` would bring it nothing: it has its
        part of ``slots``, or work that waits already and would come first."""
        share = self._active.get(owner)
        if share is None:
            return False
        if share.lines:
            return priority <= -min(share.lines)[0]
        return len(share.running) >= max(1, slots // len(self._active))


def _of_line(line: Line, bound: Callable[[Work], int]) -> Work | None:
    for work in line.fresh.values():
        return work
    return min((work for work in line.served.values() if work.running < bound(work)), key=_running, default=None)


def _running(work: Work) -> int:
    return work.running
