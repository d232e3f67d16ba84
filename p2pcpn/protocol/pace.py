"""Pace: how many tasks a peer should hold, from how long its tasks take.

Short tasks travel in large batches, long ones alone: a peer holds what it typically runs in ``HORIZON_S``, at least one
task a slot. Typical is the median of its newest receipts: one long task among short ones changes nothing, and a change
of all lengths is followed within three receipts. What the median did not foresee lies at a peer no longer than it must:
it is recalled as soon as somebody idles (``leasing``). At the tail of a job batches shrink, so that the last tasks
spread over all peers. What comes one by one while a peer has work waits for company. No knob: the pace follows the
receipts.
"""

from __future__ import annotations

from collections import deque

from p2pcpn import limits

HORIZON_S = 0.25
# A task that took no measurable time still costs its hand-over; this bounds batches of no-ops.
TASK_S_MIN = 20e-6
# The median of five: two strays in a row are forgotten, three of a kind are believed.
NEWEST = 5
# A peer is trusted with four times as much after each receipt: six receipts lead from one task to a full batch, and
# what is leased on the word of the first short tasks is never much more than what was seen.
GROWTH = 4
# A lease of one task costs as much as one of many. So whoever holds more than this for each slot, and has work until
# more wait, gets at least this share of what it holds at a time, or so many, of which each bears little of a lease.
COMPANY_FROM = 2
COMPANY_SHARE = 1 / 2
COMPANY = 8
# One task waits at each slot while the way there and back takes more than this share of a task.
ROUND_TRIP_SHARE = 1 / 64


class Typical:
    """The typical length of a task: the median over the newest reports of what each says a task took."""

    __slots__ = ("_newest", "task_s")

    def __init__(self) -> None:
        self.task_s: float | None = None
        self._newest: deque[float] = deque(maxlen=NEWEST)

    def ran(self, count: int, ran_s: float) -> float | None:
        """``count`` tasks took ``ran_s`` seconds together; returns what is typical now."""
        if count > 0:
            self._newest.append(ran_s / count)
            self.task_s = sorted(self._newest)[(len(self._newest) - 1) // 2]
        return self.task_s


class Pace:
    """One peer's measured task length within one job, and the batch that follows from it."""

    __slots__ = ("slots", "rtt_s", "heard_at", "_ahead", "_typical")

    def __init__(self, slots: int, rtt_s: float = 0.0) -> None:
        self.slots = slots
        self.rtt_s = rtt_s
        self.heard_at = float("-inf")  # when it last brought results, or was given tasks while it held none
        self._ahead = 1
        self._typical = Typical()

    @property
    def task_s(self) -> float | None:
        """How long a task takes; none while that is unknown."""
        known = self._typical.task_s
        return None if known is None else max(known, TASK_S_MIN)

    def ran(self, count: int, ran_s: float, now: float) -> None:
        """``count`` tasks took ``ran_s`` seconds together."""
        self.heard_at = now
        self._typical.ran(count, ran_s)
        task_s = self.task_s
        if task_s is None:
            return
        wanted = int(HORIZON_S / task_s) + 1
        if wanted == 1 and self.rtt_s > task_s * ROUND_TRIP_SHARE:
            wanted = 2
        self._ahead = min(wanted, limits.BATCH_TASKS_MAX, GROWTH * self._ahead)

    @property
    def target(self) -> int:
        """How many tasks the peer should hold, running ones included."""
        return self.slots * self._ahead

    def sated(self, held: int) -> bool:
        """Whether a peer that holds ``held`` gets nothing more: so refills come as batches, not as single tasks."""
        return held >= self.slots and held * 2 > self.target

    def batch(self, held: int, waiting: int, slots_all: int) -> int:
        """How many tasks to lease now to a peer that holds ``held``, while ``waiting`` wait for ``slots_all`` slots.

        0 while it is :meth:`sated`, and while it has work and too few wait to be worth a lease.
        """
        if self.sated(held):
            return 0
        target = self.target
        # A fair share of half of what waits: the next share is smaller, down to one task a slot at the very end.
        share = -(-waiting * self.slots // max(2 * slots_all, 1))
        wish = min(target - held, max(share, self.slots - held))
        if held > COMPANY_FROM * self.slots and wish < min(held * COMPANY_SHARE, COMPANY):
            return 0
        return max(0, min(wish, waiting, limits.BATCH_TASKS_MAX))

    def behind_s(self, held: int, now: float) -> float:
        """How long what it holds beyond its slots will wait by the receipts so far, or how long it has been silent."""
        over = held - self.slots
        foreseen = 0.0 if self.task_s is None or over <= 0 else over * self.task_s / max(self.slots, 1)
        return max(foreseen, self.silent_s(now))

    def silent_s(self, now: float) -> float:
        """For how long it could have said something, and did not."""
        return now - self.heard_at - self.rtt_s
